//! What is different between two models: each line as it is printed, nothing forgotten, and quickly.

use std::time::Instant;

use lb_core::{BackendConfig, Config, GroupConfig};
use lb_net::config::{Model, Pool, parse};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::size::{MANY, grows_with_size};

const OLD: &str = "
[pools.old]
[pools.web]
groups = \"a:1:9 b:1 c:1 ! d:1 %\"
ejection = {}
[pools.web.probes]
checks = [{ connect = true }]
[services.gone]
listen = 81
pool = \"old\"
[services.www]
listen = 80
pool = \"web\"
";

fn model(text: &str) -> Model {
    parse(text).unwrap_or_else(|problems| panic!("{text}\n{problems}")).model
}

/// What is different when this takes the place of that.
#[track_caller]
fn different(that: &str, this: &str, expected: &[&str]) {
    assert!(OLD.contains(that), "{that}");
    let difference = model(OLD).difference(&model(&OLD.replace(that, this)));
    assert_eq!(difference.changes().map(ToString::to_string).collect::<Vec<_>>(), expected);
}

#[test]
fn whole_pools_and_services_come_and_go_in_one_line() {
    different(
        "[pools.old]",
        "[pools.new]\ngroups = \"x:1 y:1 ! z:1\"\n[pools.old]",
        &["+ pool new: 3 backends in 2 groups"],
    );
    let gone = "[services.gone]\nlisten = 81\npool = \"old\"\n";
    different(gone, "", &["- service gone"]);
    let new = "[services.new]\nlisten = [82, \"[::1]:83\"]\npool = \"old\"\nrace = \"off\"\n";
    different(gone, new, &["- service gone", "+ service new: listens on 82, [::1]:83, pool old"]);
    let other = OLD.replace(gone, "").replace("[pools.old]\n", "");
    assert_eq!(model(OLD).difference(&model(&other)).to_string(), "- pool old\n- service gone\n");
}

#[test]
fn what_checks_send_besides_is_told_by_its_name() {
    let (none, table) = ("checks = [{ connect = true }]", "[pools.web.probes]\nchecks = [{ connect = true }]\n");
    let one = |value: &str| format!("checks = [{{ http = \"/\", headers = [\"X-Key: {value}\"] }}]");
    let hidden = "[{ headers = [\"X-Key: ***\"], http = \"/\" }]";
    let arrow = format!("~ pool web: probes.checks [{{ connect = true }}] -> {hidden}");
    different(none, &one("secret"), &[&arrow]);
    let [old, new] = [one("secret"), one("other: secret")].map(|checks| model(&OLD.replace(none, &checks)));
    let told = format!("~ pool web: probes.checks {hidden}: what is not shown is another\n");
    assert_eq!(old.difference(&new).to_string(), told);
    assert!(old.difference(&old).is_empty());
    let added = model(&OLD.replace(table, "")).difference(&old).to_string();
    assert!(added.starts_with("~ pool web: + probes: ") && added.contains(hidden), "{added}");
    assert!(!added.contains("secret") && old.to_toml().contains("X-Key: secret"), "a dump is to load again");
}

#[test]
fn what_is_said_over_connections_and_in_fields_is_not_told() {
    let one = |value: &str| format!("checks = [{{ connect = true, send = \"AUTH {value}\" }}]");
    let [old, new] = [one("a"), one("b")].map(|checks| model(&OLD.replace("checks = [{ connect = true }]", &checks)));
    let told = "~ pool web: probes.checks [{ connect = true, send = \"***\" }]: what is not shown is another\n";
    assert_eq!(old.difference(&new).to_string(), told);
    let fields = |edits: &str| model(&format!("{OLD}\n[defaults.http]\nanswer_headers = [{edits}]\n"));
    let told = fields("'set A: secret', 'remove B'").difference(&fields("'set C: other'")).to_string();
    assert!(told.contains("answer_headers set A: ***, remove B -> set C: ***\n"), "{told}");
    let told = fields("'set A: secret'").difference(&fields("'set A: other'")).to_string();
    assert!(told.contains("answer_headers set A: ***: what is not shown is another\n"), "{told}");
}

#[test]
fn settings_of_a_pool_are_told_by_key() {
    let first = "ejection = {}";
    let cases: [(&str, &str, &[&str]); 9] = [
        (first, "ejection = {}\nslow_start = \"5s\"", &["~ pool web: slow_start off -> 5s"]),
        (first, "ejection = {}\nport = 7", &["~ pool web: port none -> 7"]),
        (first, "ejection.period = \"20s\"", &["~ pool web: ejection.period 10s -> 20s"]),
        (first, "", &["~ pool web: - ejection"]),
        (
            first,
            "ejection.request_failures = {}",
            &["~ pool web: + ejection.request_failures: clients = 3, window = \"10s\""],
        ),
        (
            "connect = true",
            "http = \"/\", timeout = \"1s\"",
            &["~ pool web: probes.checks [{ connect = true }] -> [{ http = \"/\", timeout = \"1s\" }]"],
        ),
        (
            "connect = true",
            "connect = true, send = \"PING\\r\\n\", expect_contains = \"PONG\"",
            &["~ pool web: probes.checks [{ connect = true }] -> \
               [{ connect = true, expect_contains = \"PONG\", send = \"***\" }]"],
        ),
        (
            first,
            "ejection = {}\nselector = \"random\"",
            &["~ pool web: selector round-robin -> random", "~ pool web: group 0: selector round-robin -> random"],
        ),
        (
            first,
            "ejection = {}\nspill = true",
            &["~ pool web: spill false -> true", "~ pool web: group 1: spill false -> true"],
        ),
    ];
    for (that, this, expected) in cases {
        different(that, this, expected);
    }
}

#[test]
fn backends_and_groups_are_told_one_by_one() {
    let groups = "\"a:1:9 b:1 c:1 ! d:1 %\"";
    let cases: [(&str, &[&str]); 9] = [
        (
            "\"a:1:7:2 b:1 c:1 ! d:1 %\"",
            &["~ pool web: backend a:1: limit 9 -> 7", "~ pool web: backend a:1: weight 1 -> 2"],
        ),
        ("\"a:1 b:1 c:1 ! d:1 %\"", &["~ pool web: backend a:1: limit 9 -> none"]),
        (
            "\"a:1:9 c:1 e:1:5:3 ! d:1 %\"",
            &["~ pool web: - backend b:1 in group 0", "~ pool web: + backend e:1 in group 0: limit 5, weight 3"],
        ),
        ("\"a:1:9 c:1 ! b:1 d:1 %\"", &["~ pool web: backend b:1: group 0 -> 1"]),
        ("\"a:1:9 c:1 b:1 ! d:1 %\"", &["~ pool web: group 0: its backends in another order"]),
        ("\"n:1 a:1:9 b:1 c:1 ! d:1 %\"", &["~ pool web: + backend n:1 in group 0"]),
        ("\"a:1:9 b:1 c:1 a:1 ! d:1 %\"", &["~ pool web: + backend a:1 #2 in group 0"]),
        ("\"a:1:9 b:1 c:1 ! d:1\"", &["~ pool web: group 1: selector hash -> round-robin"]),
        (
            "\"a:1:9 b:1 c:1 ! d:1 % e:1\"",
            &["~ pool web: + group 2: selector = \"round-robin\"", "~ pool web: + backend e:1 in group 2"],
        ),
    ];
    for (this, expected) in cases {
        different(groups, this, expected);
    }
    different(groups, "\"a:1:9 b:1 c:1\"", &["~ pool web: - group 1", "~ pool web: - backend d:1 in group 1"]);
    let table = "[{ backends = [\"a:1:9\", { name = \"b:1\", status = \"draining\" }, \"c:1\"] }, { selector = \"hash\", backends = [\"d:1\"] }]";
    different(groups, table, &["~ pool web: backend b:1: status enabled -> draining"]);
}

#[test]
fn services_are_told_as_they_behave() {
    let pool = "pool = \"web\"";
    different(pool, "pool = \"web\"\nidle_timeout = \"5m\"", &["~ service www: idle_timeout never -> 5m"]);
    different(pool, "pool = \"old\"", &["~ service www: pool web -> old"]);
    different("listen = 80", "listen = [80, 8080]", &["~ service www: listen 80 -> 80, 8080"]);
    different(
        pool,
        "pool = \"web\"\nidle_timeout = \"never\"\n[defaults]\nidle_timeout = \"5m\"",
        &["~ service gone: idle_timeout never -> 5m", "~ defaults: idle_timeout never -> 5m"],
    );
}

#[test]
fn how_requests_are_balanced_is_told_by_key_and_a_role_as_one_thing() {
    let pool = "pool = \"web\"";
    different(
        pool,
        "pool = \"web\"\nrole = \"http\"\nhttp.max_body = \"1MiB\"",
        &[
            "~ pool web: selector round-robin -> least-loaded",
            "~ pool web: group 0: selector round-robin -> least-loaded",
            "~ service www: role tcp -> http",
        ],
    );
    let old = model("pools.web = {}\nservices.www = { listen = 80, pool = \"web\", role = \"http\" }");
    let new = model(
        "pools.web = {}\n[services.www]\nlisten = 80\npool = \"web\"\nrole = \"http\"\n[defaults.http]\n\
         keep = { idle = 9 }\nsticky = {}\nrequest_headers = [\"set X-A: b\"]\n[defaults]\nidle_timeout = \"5m\"",
    );
    let told = [
        "http.keep.idle 256 -> 9",
        "http.request_headers none -> set X-A: ***",
        "http.sticky off -> { cookie = \"lb\", lifetime = \"1h\" }",
    ];
    let of = |subject: &str| told.map(|line| format!("~ {subject}: {line}\n")).concat();
    let idle = "~ defaults: idle_timeout never -> 5m\n";
    assert_eq!(old.difference(&new).to_string(), format!("{}{}{idle}", of("service www"), of("defaults")));
}

#[test]
fn what_a_running_process_cannot_take_over_is_marked() {
    let restart = " (takes effect at the next start)";
    let rows = [
        ("process.workers = 4", "process: workers unset -> 4", true),
        ("process.user = \"www:adm\"", "process: user unset -> www:adm", true),
        ("process.resolve_every = \"never\"", "process: resolve_every 2s -> never", false),
        ("control.directory = \"/x y\"", "control: directory unset -> /x y", true),
        ("log.to = \"syslog\"", "log: to auto -> syslog", true),
        ("log.format = \"json\"", "log: format human -> json", true),
        ("log.dump = true", "log: dump false -> true", true),
        ("log.trace = true", "log: trace false -> true", false),
        ("defaults.race = \"off\"", "defaults: race 250ms -> off", false),
    ];
    for (line, expected, needs_restart) in rows {
        let difference = Model::default().difference(&model(line));
        let all: Vec<_> = difference.changes().map(|change| (change.to_string(), change.needs_restart())).collect();
        let mark = if needs_restart { restart } else { "" };
        assert_eq!(all, [(format!("~ {expected}{mark}"), needs_restart)]);
    }
}

#[test]
fn a_token_is_a_secret() {
    let with = |token: &str| model(&format!("control.http = \"127.0.0.1:9480\"\ncontrol.token = \"{token}\""));
    let text = with("first-secret").difference(&with("second-secret")).to_string();
    assert_eq!(text, "~ control: token is another one (takes effect at the next start)\n");
    assert!(!Model::default().difference(&with("first-secret")).to_string().contains("secret\""));
    assert!(!with("first-secret").difference(&Model::default()).to_string().contains("first"));
}

#[test]
fn letters_that_a_terminal_would_obey_are_not_printed() {
    let new = model("pools.web.probes.checks = [{ command = \"echo \\u001b[2J\" }]\ncontrol.directory = \"/a'\\\"b\"");
    let old = model("pools.web.probes.checks = [{ command = \"echo\" }]");
    let text = old.difference(&new).to_string();
    assert!(text.contains("echo \\u001B[2J") && text.contains("\"/a'\\\"b\""), "{text}");
    assert!(!text.contains('\u{1b}'));
}

/// So many backends, whose names have numbers from this one on.
fn numbered(from: usize, count: usize) -> Model {
    let backends = (from..from + count).map(|number| BackendConfig::new(format!("backend-{number}:80")));
    let config = Config::default().with_group(GroupConfig::new(backends));
    Model::default().with_pool("web".parse().unwrap(), Pool::new(config, None, None).unwrap()).unwrap()
}

#[test]
fn of_ten_thousand_backends_twenty_lines_are_printed_and_the_others_counted() {
    let models = |count| (numbered(0, count), numbered(count / 2, count));
    let time = |count| {
        let (old, new) = models(count);
        let began = Instant::now();
        assert_eq!(old.difference(&new).changes().len(), count);
        began.elapsed()
    };
    assert!(grows_with_size(time));
    let (old, new) = models(MANY);
    let difference = old.difference(&new);
    assert_eq!(difference.changes().len(), 10_000);
    let text = difference.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (21, "~ pool web: - backend backend-0:80 in group 0"));
    assert_eq!(lines[20], "~ pool web: 9980 more changes of backends");
}

/// Pools that are often equal, or nearly.
fn small() -> impl Strategy<Value = Model> {
    let backend = select(vec!["a:1", "a:1", "b:1", "a:1:5", "b:1::0"]);
    vec(vec(backend, 0..4), 0..3).prop_map(|groups| {
        let group = |words: Vec<&str>| GroupConfig::new(words.into_iter().map(|word| word.parse().unwrap()));
        let config = groups.into_iter().map(group).fold(Config::default(), Config::with_group);
        Model::default().with_pool("web".parse().unwrap(), Pool::new(config, None, None).unwrap()).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn pools_that_differ_in_anything_are_different(one in small(), other in small()) {
        let difference = one.difference(&other);
        prop_assert_eq!(difference.is_empty(), one == other, "{}", difference);
    }
}
