//! The keys `nodes` and `dns` of groups: read, written, checked; and a pool with what its sources have said.

use std::{num::NonZeroU16, time::Instant};

use lb_core::{BackendConfig, Config, GroupConfig, SelectorKind, Status};
use lb_net::{
    config::{Initial, Loaded, Model, Pool, PoolError, Probes, Service, Sessions, Severity, parse, schema},
    discover::{Found, Source},
};
use proptest::{prelude::*, sample::select};

use crate::size::grows_with_size;

const GOOD: &str = "
[[pools.web.groups]]
nodes = \"/etc/lb/nodes.web\"
[services.www]
listen = 80
pool = \"web\"
";

const L3: &str = "nodes = \"/etc/lb/nodes.web\"";

fn good(instead: &str) -> Loaded {
    let text = GOOD.replace(L3, instead);
    parse(&text).unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

fn source(word: &str) -> Source {
    word.parse().unwrap()
}

fn backend(word: &str) -> BackendConfig {
    word.parse().unwrap()
}

fn sources(pool: &Pool, group: usize) -> Vec<String> {
    pool.sources(group).iter().map(ToString::to_string).collect()
}

#[test]
fn a_group_has_sources_beside_its_backends_or_in_place_of_them() {
    let pool = |instead: &str| good(instead).model.pools()["web"].clone();
    assert_eq!(sources(&pool(L3), 0), ["/etc/lb/nodes.web"]);
    let both = pool("dns = [\"b.internal:81:9:2\", \"a.internal\"]\nnodes = [\"/b\", \"/a\"]\nbackends = [\"c:1\"]");
    assert_eq!(sources(&both, 0), ["/b", "/a", "b.internal:81:9:2", "a.internal"]);
    assert_eq!(both.config().to_string(), "c:1");
    assert_eq!(sources(&both, 1), [""; 0]);
    let second = pool("backends = [\"a:1\"]\n[[pools.web.groups]]\ndns = \"x\"\nselector = \"hash\"");
    assert_eq!((sources(&second, 0).len(), sources(&second, 1).len()), (0, 1));
}

/// In place of the line, the line and the word that are told, and a part of the remedy.
const MISTAKES: &[(&str, usize, &str, &str)] = &[
    ("nodes = \"nodes.web\"", 3, "\"nodes.web\"", "expected a whole path, which begins with '/'"),
    ("nodes = 5", 3, "5", "expected the path of a file with a backend a line"),
    ("nodes = []", 3, "[]", "expected the path of a file"),
    ("nodes = [\"/a\", \"/b\", \"/a\"]", 3, "\"/a\"", "'/a' stands here twice"),
    ("node = \"/a\"", 3, "node", "unknown key 'node': did you mean 'nodes'?"),
    ("dns = \"10.0.0.1:80\"", 3, "\"10.0.0.1:80\"", "an address already: list it among the backends"),
    ("dns = [\"a.b:80\", \"a.b:80:many\"]", 3, "a.b:80:many", "limit 'many' is not a number"),
    ("dns = \"a/b:80\"", 3, "\"a/b:80\"", "'a/b' is no host name"),
    ("dns = \"a b\"", 3, "a b", "no host in it"),
    ("dns = true", 3, "true", "expected a name and a port"),
    ("backends = [\"a:1\"]\n[pools.two]\nnodes = \"/a\"", 5, "nodes", "it belongs in [[pools.NAME.groups]]"),
    (
        "selector = \"random\"",
        2,
        "[[pools.web.groups]]",
        "'backends' is missing: add backends = [\"host:port\"], nodes =",
    ),
];

#[test]
fn each_planted_mistake_is_found_with_its_line_its_word_and_its_remedy() {
    assert_eq!(good(L3).warnings, []);
    for &(mistake, line, word, remedy) in MISTAKES {
        let problems = parse(&GOOD.replace(L3, mistake)).expect_err(mistake);
        let found = &problems.all()[0];
        assert_eq!((found.line, found.word.as_str()), (line, word), "{mistake}\n{problems}");
        assert!(found.message.contains(remedy), "{mistake}: {remedy}\n{problems}");
        assert_eq!(problems.count(), 1, "nothing else is wrong: {problems}");
    }
}

#[test]
fn who_may_come_without_a_port_gets_one() {
    let two_ports = |instead: &str| parse(&GOOD.replace("80", "[80, 81]").replace(L3, instead));
    let wrong = |instead: &str| two_ports(instead).expect_err(instead).all()[0].clone();
    let file = wrong(L3);
    assert_eq!((file.line, file.word.as_str()), (6, "\"web\""));
    assert!(file.message.starts_with("a line of /etc/lb/nodes.web of pool 'web' may have no port, and"), "{file}");
    assert!(file.message.ends_with("give the pool one: port = 80"), "{file}");
    assert!(wrong("dns = \"a.b\"").message.starts_with("dns 'a.b' of pool 'web' has no port, and its services"));
    assert!(two_ports("dns = \"a.b:80\"").is_ok());
    let ported = GOOD.replace("80", "[80, 81]").replace("[[pools", "[pools.web]\nport = 8080\n[[pools");
    assert_eq!(parse(&ported).unwrap().model.port_of("web"), Some(8080));
    assert_eq!(good(L3).model.port_of("web"), Some(80), "that of the service");
}

#[test]
fn every_key_changes_the_model_and_is_in_the_schema() {
    let mut seen = vec![good(L3).model];
    for line in [
        "nodes = [\"/etc/lb/nodes.web\", \"/x\"]".to_owned(),
        "dns = \"a.b:80\"".to_owned(),
        format!("{L3}\n[process]\nresolve_every = \"5s\""),
    ] {
        let model = good(&line).model;
        assert!(!seen.contains(&model), "it changes nothing: {line}");
        assert_eq!(parse(&model.to_toml()).unwrap().model, model, "{line}");
        seen.push(model);
    }
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    let groups = &schema["properties"]["pools"]["additionalProperties"]["properties"]["groups"]["oneOf"][1];
    for key in ["nodes", "dns"] {
        assert_eq!(groups["items"]["properties"][key]["oneOf"][1]["items"]["type"], "string", "{key}");
    }
}

#[test]
fn a_group_that_finds_its_backends_is_not_empty_and_a_file_that_is_missing_is_told_by_who_may_look() {
    let text = GOOD.replace(L3, "nodes = [\"/etc/passwd\",\n  \"/no/such/nodes\"]");
    let loaded = parse(&text).unwrap();
    assert_eq!(loaded.warnings, []);
    let told = loaded.with_system(&text).warnings;
    let told: Vec<_> = told.iter().map(|told| (told.line, told.severity, told.word.as_str())).collect();
    assert_eq!(told, [(3, Severity::Warning, "/etc/passwd"), (4, Severity::Warning, "/no/such/nodes")]);
    let ejecting = GOOD.replace(L3, &format!("backends = [\"a:1\"]\n{L3}\n[pools.web.ejection]"));
    assert_eq!(parse(&ejecting).unwrap().warnings, [], "there may be more than one");
    let limit = good(&format!("{L3}\nbackends = [{{ name = \"a:1\", limit = 0 }}]")).warnings;
    assert!(limit.len() == 1 && limit[0].word == "0", "{limit:?}");
}

#[test]
fn the_sources_of_a_model_are_those_of_the_pools_that_somebody_uses() {
    let model = good(&format!("{L3}\ndns = \"a.b:1\"\n[[pools.idle.groups]]\nnodes = \"/idle\"")).model;
    let all: Vec<String> = model.sources().map(ToString::to_string).collect();
    assert_eq!(all, ["/etc/lb/nodes.web", "a.b:1"]);
}

#[test]
fn a_pool_has_no_source_twice_and_none_without_a_group() {
    let pool: Pool = Pool::new("a ! b".parse().unwrap(), None, None).unwrap();
    assert_eq!(pool.clone().with_sources(2, [source("/a")]), Err(PoolError::Group(2)));
    let pool = pool.with_sources(1, [source("/a")]).unwrap();
    assert_eq!(pool.clone().with_sources(1, [source("/a")]), Err(PoolError::Twice(source("/a"))));
    assert_eq!(sources(&pool.with_sources(0, [source("/a")]).unwrap(), 0), ["/a"]);
}

/// A pool over these groups, the first of which has these two sources.
fn pool(groups: &str) -> Pool {
    let pool = Pool::new(groups.parse().unwrap(), None, None).unwrap();
    pool.with_sources(0, [source("/nodes"), source("web.internal:80")]).unwrap()
}

fn found(nodes: &str, dns: &str) -> Found {
    let list = |words: &str| words.split_whitespace().map(backend).collect::<Vec<_>>();
    let mut found = Found::default();
    found.set(source("/nodes"), list(nodes));
    found.set(source("web.internal:80"), list(dns));
    found
}

#[test]
fn the_listed_come_first_and_nobody_is_there_twice() {
    let expanded =
        |groups: &str, nodes: &str, dns: &str| pool(groups).expanded(&found(nodes, dns), Some(80)).to_string();
    assert_eq!(expanded("a:80 ! z:1", "c:80 b:80", "[::1]:80"), "a:80 c:80 b:80 [::1]:80 ! z:1");
    assert_eq!(expanded("a::9 a::9", "a:80:1 A:080 b", "10.0.0.1:80"), "a::9 a::9 b 10.0.0.1:80");
    assert_eq!(expanded("[::1]", "[0:0::1]:80:7", "b:80"), "[::1] b:80", "one address, written in two ways");
    assert_eq!(expanded("x", "b:80:7", "b:80 c:80"), "x b:80:7 c:80", "the first source counts");
    assert_eq!(expanded("x ! b:80", "b:80", ""), "x b:80 ! b:80", "in each group");
    assert_eq!(expanded("x", "", ""), "x");
}

#[test]
fn what_people_have_ordered_is_listed_and_the_rest_is_left_to_the_sources() {
    let (pool, found) = (pool("a:80 ! z:1"), found("b:80 c:80 d:80", "10.0.0.1:80"));
    let contracted = |change: &dyn Fn(&mut Vec<GroupConfig>)| {
        let mut running = pool.expanded(&found, Some(80));
        change(&mut running.groups);
        let contracted = pool.contracted(&running, &found, Some(80)).unwrap();
        assert_eq!(sources(&contracted, 0), ["/nodes", "web.internal:80"]);
        let words = |backend: &BackendConfig| match backend.status {
            Status::Enabled => backend.to_string(),
            status => format!("{backend}={status}"),
        };
        let group = |group: &GroupConfig| group.backends.iter().map(words).collect::<Vec<_>>().join(" ");
        contracted.config().groups.iter().map(group).collect::<Vec<_>>().join(" ! ")
    };
    assert_eq!(contracted(&|_| {}), "a:80 ! z:1");
    assert_eq!(contracted(&|groups| groups[0].backends[2].status = Status::Draining), "a:80 c:80=draining ! z:1");
    assert_eq!(contracted(&|groups| groups[0].backends[4].weight = 7), "a:80 10.0.0.1:80::7 ! z:1");
    assert_eq!(contracted(&|groups| groups[0].backends[0].limit = Some(5)), "a:80:5 ! z:1");
    assert_eq!(contracted(&|groups| groups[0].backends.push(backend("new:80"))), "a:80 new:80 ! z:1");
    assert_eq!(
        contracted(&|groups| groups[0].backends.push(backend("b:80"))),
        "a:80 b:80 b:80 ! z:1",
        "once more than it was found: both are listed, or one would be lost"
    );
    assert_eq!(
        contracted(&|groups| drop(groups[0].backends.remove(1))),
        "a:80 b:80=disabled ! z:1",
        "it would be found again"
    );
    let moved = |groups: &mut Vec<GroupConfig>| {
        let backend = groups[0].backends.remove(1);
        groups[1].backends.push(backend);
    };
    assert_eq!(contracted(&moved), "a:80 b:80=disabled ! z:1 b:80");
    assert_eq!(contracted(&|groups| groups.push(GroupConfig::new([backend("n:1")]))), "a:80 ! z:1 ! n:1");
}

#[test]
fn who_was_listed_and_taken_out_is_not_found_again() {
    let (pool, found) = (pool("a:80"), found("a:80 b:80", ""));
    let mut running = pool.expanded(&found, Some(80));
    running.groups[0].backends.remove(0);
    let contracted = pool.contracted(&running, &found, Some(80)).unwrap();
    assert_eq!(contracted.config().groups[0].backends, [backend("a:80").with_status(Status::Disabled)]);
}

#[test]
fn what_holds_for_a_pool_stays() {
    let probes = Probes::new("connect".parse().unwrap(), Initial::Up);
    let pool = Pool::new("a".parse().unwrap(), Some(probes), NonZeroU16::new(81)).unwrap();
    let pool = pool.with_new_groups(SelectorKind::Random, true).with_sources(0, [source("/nodes")]).unwrap();
    let found = found("b", "");
    let mut running = pool.expanded(&found, pool.port());
    assert_eq!(pool.contracted(&running, &found, pool.port()).unwrap(), pool);
    running.groups.clear();
    let contracted = pool.contracted(&running, &found, pool.port()).unwrap();
    assert_eq!(sources(&contracted, 0), ["/nodes"], "a group that sources fill is there");
    running.groups = vec![GroupConfig::new([BackendConfig::new("a b")])];
    assert_eq!(pool.contracted(&running, &found, None), Err(PoolError::Backend("a b".to_owned())));
}

#[test]
fn ten_thousand_backends_are_expanded_and_contracted_at_once() {
    let time = |count: usize| {
        let name = |n: usize| format!("10.0.{}.{}:80", n / 250, n % 250);
        let mut found = Found::default();
        found.set(source("/nodes"), (0..count).map(|n| backend(&name(n))).collect::<Vec<_>>());
        let listed = (count / 2..count / 2 + count).map(|n| backend(&name(n)).with_limit(9));
        let config = Config::default().with_group(GroupConfig::new(listed));
        let pool = Pool::new(config, None, None).unwrap().with_sources(0, [source("/nodes")]).unwrap();
        let began = Instant::now();
        let running = pool.expanded(&found, Some(80));
        assert_eq!(running.groups[0].backends.len(), count / 2 + count);
        assert_eq!(pool.contracted(&running, &found, Some(80)).unwrap(), pool);
        began.elapsed()
    };
    assert!(grows_with_size(time));
}

fn any_backend() -> impl Strategy<Value = BackendConfig> {
    let name = select(vec!["a", "A:80", "a:80", "a:81", "b:http", "c", "[::1]:80", "10.0.0.1", "10.0.0.1:80"]);
    (name, select(vec![None, Some(0), Some(7)]), select(vec![0, 1, 1, 5])).prop_map(|(name, limit, weight)| {
        let mut backend = BackendConfig::new(name).with_weight(weight);
        backend.limit = limit;
        backend
    })
}

fn backends() -> impl Strategy<Value = Vec<BackendConfig>> {
    proptest::collection::vec(any_backend(), 0..6)
}

/// Sources as they may be in a group, and what they have said.
fn said() -> impl Strategy<Value = Vec<(Source, Vec<BackendConfig>)>> {
    let words = ["/b", "/a", "/é\"\\", "b.internal:80:7:3", "a.internal", "a.internal:http"];
    let any = proptest::sample::subsequence(words.to_vec(), 0..=words.len()).prop_shuffle();
    (any, proptest::collection::vec(backends(), words.len()))
        .prop_map(|(words, lists)| words.into_iter().map(source).zip(lists).collect())
}

/// A pool, and what its sources have said; of a source that several groups have, the same.
fn pool_and_found() -> impl Strategy<Value = (Pool, Found)> {
    proptest::collection::vec((backends(), said(), select(SelectorKind::ALL.to_vec())), 1..4).prop_map(|groups| {
        let config = groups.iter().fold(Config::default(), |config, (listed, _, kind)| {
            config.with_group(GroupConfig::new(listed.clone()).with_selector(*kind))
        });
        let (mut pool, mut found) = (Pool::new(config, None, None).unwrap(), Found::default());
        for (at, (_, said, _)) in groups.into_iter().enumerate() {
            pool = pool.with_sources(at, said.iter().map(|(source, _)| source.clone())).unwrap();
            said.into_iter().for_each(|(source, list)| found.set(source, list));
        }
        (pool, found)
    })
}

/// What people do with backends that run: take one out, change one, add one, move one to the next group.
fn ordered(running: &mut Config, orders: Vec<(u8, prop::sample::Index, prop::sample::Index, BackendConfig)>) {
    for (order, group, slot, other) in orders {
        let group = group.index(running.groups.len());
        let count = running.groups[group].backends.len();
        match order {
            0 => running.groups[group].backends.push(other),
            _ if count == 0 => {}
            1 => running.groups[group].backends[slot.index(count)].limit = other.limit,
            2 => running.groups[group].backends[slot.index(count)].status = Status::Draining,
            3 => drop(running.groups[group].backends.remove(slot.index(count))),
            _ => {
                let moved = running.groups[group].backends.remove(slot.index(count));
                let next = (group + 1) % running.groups.len();
                running.groups[next].backends.push(moved);
            }
        }
    }
}

/// In an order of its own.
fn sorted(group: &GroupConfig) -> Vec<String> {
    let mut words: Vec<String> =
        group.backends.iter().map(|one| format!("{one} {:?} {}", one.limit, one.status)).collect();
    words.sort();
    words
}

proptest! {
    #[test]
    fn an_expansion_that_nobody_changed_contracts_to_its_pool((pool, found) in pool_and_found()) {
        let running = pool.expanded(&found, Some(80));
        prop_assert_eq!(pool.contracted(&running, &found, Some(80)).unwrap(), pool);
    }

    #[test]
    fn a_contraction_expands_to_what_runs_but_for_order_and_who_was_taken_out(
        (pool, found) in pool_and_found(),
        orders in proptest::collection::vec((0_u8..5, any::<prop::sample::Index>(), any::<prop::sample::Index>(), any_backend()), 0..8),
    ) {
        let mut running = pool.expanded(&found, Some(80));
        ordered(&mut running, orders);
        let contracted = pool.contracted(&running, &found, Some(80)).unwrap();
        let again = contracted.expanded(&found, Some(80));
        prop_assert_eq!(again.groups.len(), running.groups.len());
        for (mut again, running) in again.groups.into_iter().zip(&running.groups) {
            prop_assert_eq!(again.selector, running.selector);
            again.backends.retain(|one| one.status != Status::Disabled);
            prop_assert_eq!(sorted(&again), sorted(running));
        }
        prop_assert_eq!(contracted.contracted(&contracted.expanded(&found, Some(80)), &found, Some(80)).unwrap(), contracted);
    }

    #[test]
    fn a_model_with_sources_prints_and_loads_back_equal((pool, _) in pool_and_found(), served in any::<bool>()) {
        let mut model = Model::default().with_pool("web".parse().unwrap(), pool).unwrap();
        if served {
            let service = Service::new("80".parse().unwrap(), "web".parse().unwrap(), Sessions::default());
            model.add_service("www".parse().unwrap(), service).unwrap();
        }
        let text = model.to_toml();
        let loaded = parse(&text).map_err(|problems| TestCaseError::fail(format!("{problems}\n{text}")))?;
        prop_assert_eq!(&loaded.model, &model, "{}", text);
        prop_assert_eq!(loaded.model.to_toml(), text);
    }
}
