//! The JSON API: every order that a control session takes, who may give it, and what is refused with which reason.
#![cfg(feature = "manage-http")]
#![allow(clippy::unwrap_used, reason = "only tests call it")]

#[path = "support/controlled.rs"]
mod controlled;
#[path = "support/process.rs"]
mod process;
#[path = "support/web.rs"]
mod web;

use std::sync::Arc;

use controlled::{Scratch, mode};
use lb_core::{Health, Status};
use lb_net::{
    manage::http,
    serve::{HttpAddress, Limits, ListenError, Listener},
};
use process::{PERMANENCE, Staged};
use web::{TOKEN, Web, loopback, unix};

fn staged() -> Arc<Staged> {
    Staged::new(&[("web", "10.0.0.1:80 10.0.0.2:80 ! 10.0.0.3:80:7"), ("mail", "10.0.0.4:25")])
}

const CHANNEL: &str = "/v1/pools/web/groups/0/channels/0";

#[test]
fn every_order_is_carried_out_as_a_session_does() {
    let staged = staged();
    let web = Web::new(Arc::clone(&staged) as _);
    let orders = [
        (format!("{CHANNEL}/disable"), "", "channel 0 disabled"),
        (format!("{CHANNEL}/assign"), "{\"host\":\"10.0.0.9\",\"port\":81}", "channel reassigned"),
        (format!("{CHANNEL}/enable"), "{}", "channel 0 enabled"),
        (format!("{CHANNEL}/weight"), "{\"weight\":5}", "weight of channel 0 changed to 5"),
        (format!("{CHANNEL}/maxc"), "{\"limit\":10}", "maxc of channel 0 changed to 10"),
        ("/v1/pools/web/groups/0/channels/1/drain".to_owned(), "", "channel 1 drained"),
        ("/v1/pools/web/groups/1/create".to_owned(), "{\"host\":\"::1\",\"port\":\"80\"}", "channel created"),
        ("/v1/pools/web/groups/0/hash".to_owned(), "", "group 0 set to hash"),
        ("/v1/pools/web/groups/1/rr".to_owned(), "", "group 1 set to round robin"),
        ("/v1/pools/web/monitor/disable".to_owned(), "", "monitor is now disabled"),
    ];
    for (path, body, text) in orders {
        let answer = web.post(&path, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let expected = serde_json::json!({ "ok": true, "text": text, "permanence": PERMANENCE });
        assert_eq!(answer.json(), expected, "{path}");
    }
    let fleet = staged.fleet("web");
    let (first, second) = (&fleet.stats().backends[0], &fleet.stats().backends[1]);
    assert_eq!((first.name.as_str(), first.weight, first.limit), ("10.0.0.9:81", 5, Some(10)));
    assert_eq!((first.status, first.health, second.status), (Status::Enabled, Health::Up, Status::Draining));
    assert_eq!(fleet.stats().backends[3].name, "[::1]:80");
    assert_eq!(fleet.is_monitored(), Some(false));
    assert_eq!(web.post(&format!("{CHANNEL}/maxc"), "{\"limit\":null}").status, 200);
    assert_eq!(fleet.stats().backends[0].limit, None);
}

#[test]
fn what_changes_nothing_says_nothing_of_its_permanence() {
    let web = Web::new(staged());
    for path in ["channels/0/reset", "channels/0/enable"] {
        let answer = web.post(&format!("/v1/pools/web/groups/0/{path}"), "").json();
        assert_eq!((&answer["ok"], answer.get("permanence")), (&true.into(), None), "{answer}");
    }
}

#[test]
fn questions_are_answered() {
    let staged = staged();
    let web = Web::new(Arc::clone(&staged) as _);
    let index = web.get("/").json();
    let paths: Vec<&str> = index["endpoints"].as_array().unwrap().iter().map(|e| e["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&"/metrics") && paths.contains(&"/v1/reload"), "{index}");
    assert!(index["not_offered"].as_str().unwrap().starts_with("kill"));
    let services = web.get("/v1/services").json();
    assert_eq!(services["services"][1]["listen"][1], "[::1]:8443");
    let pools = web.get("/v1/pools/").json();
    assert_eq!(pools["pools"][0]["pool"], "web");
    assert_eq!((&pools["pools"][0]["channels"], &pools["pools"][0]["up"]), (&3.into(), &3.into()));
    let pool = web.get("/v1/pools/%77eb").json();
    assert_eq!((&pool["pool"], &pool["groups"][1]["channels"][0]["limit"]), (&"web".into(), &7.into()));
    let explained = web.get("/v1/pools/web/explain?client=2001%3Adb8::7").json();
    assert_eq!((&explained["client"], &explained["last_resort"]), (&"2001:db8::7".into(), &false.into()));
    assert_eq!((&explained["chosen"]["group"], &explained["channels"][2]["reason"]), (&0.into(), &"has room".into()));
    assert!(web.get("/v1/pools/web/explain?client=192.0.2.7").json()["chosen"]["name"].is_string());
}

#[test]
fn the_file_is_dealt_with() {
    let staged = staged();
    let web = Web::new(Arc::clone(&staged) as _);
    let dump = web.get("/v1/dump");
    assert_eq!((dump.header("content-type"), dump.body.as_str()), (Some("application/toml"), "[log]\nto = \"auto\"\n"));
    assert_eq!(web.get("/v1/loaded").body, "[log]\nto = \"syslog\"\n");
    assert_eq!(web.get("/v1/diff").json()["lines"][0], "pool 'web': backend 'delta' would be added");
    assert_eq!(web.post("/v1/reload", "").json()["text"], "pool 'web': backend 'gamma' added");
    *staged.reload.lock().unwrap() = Err("lb.toml:3:1: unknown key 'gruops'".to_owned());
    *staged.difference.lock().unwrap() = Ok(String::new());
    let refused = web.post("/v1/reload", "");
    assert_eq!((refused.status, refused.error().as_str()), (409, "lb.toml:3:1: unknown key 'gruops'"));
    let none = web.get("/v1/diff").json();
    assert_eq!(
        (&none["text"], &none["lines"]),
        (&serde_json::json!("a reload would change nothing"), &serde_json::json!([]))
    );
}

#[test]
fn the_token_is_not_told() {
    let staged = staged();
    *staged.dump.lock().unwrap() = format!("[control]\nhttp = \"127.0.0.1:1\"\ntoken = \"{TOKEN}\"\n");
    *staged.difference.lock().unwrap() = Ok(format!("+ pool 'web': '{TOKEN}:80'"));
    let web = Web::at(&loopback(), staged, Some(TOKEN), Limits::default());
    for path in ["/v1/dump", "/v1/diff"] {
        let head = format!("Host: x\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}");
        let answer = web.say(&format!("GET {path} HTTP/1.1\r\n{head}\r\n\r\n"));
        assert!(answer.status == 200 && answer.body.contains("not told over HTTP"), "{}", answer.body);
        assert!(!answer.body.contains(TOKEN), "{}", answer.body);
    }
}

/// What a reload would change, or what is wrong, as the model and as this API say it.
#[cfg(feature = "config")]
fn differences(old: &str, new: &str) -> [String; 2] {
    let outcome = lb_net::config::parse(new).map_err(|problems| problems.to_string()).map(|new| {
        let old = lb_net::config::parse(old).unwrap_or_else(|problems| panic!("{old}\n{problems}"));
        old.model.difference(&new.model).to_string()
    });
    let staged = staged();
    (*staged.difference.lock().unwrap()).clone_from(&outcome);
    let said = Web::new(staged).get("/v1/diff").json();
    let told = said["text"].as_str().or(said["error"].as_str()).unwrap();
    [outcome.unwrap_or_else(|problems| problems).trim().to_owned(), told.to_owned()]
}

#[test]
#[cfg(feature = "config")]
fn a_difference_is_told_whole_and_without_secrets() {
    let file = |control: &str, backend: &str, value: &str| {
        format!(
            "[control]\n{control}\n\
             [services.www]\nlisten = 8080\npool = 'control'\nrole = 'http'\n\
             http.request_headers = ['set X-Key: {value}']\n\
             [[pools.control.groups]]\nbackends = ['token-0:80', '{backend}']\n\
             [pools.control.probes]\nchecks = [{{ http = '/', headers = ['X-Key: {value}'] }}]\n"
        )
    };
    let http = "http = '127.0.0.1:9480'";
    let [one, other] = ["first-5ecret", "second-5ecret"].map(|token| format!("{http}\ntoken = '{token}'"));
    let old = file(&one, "token-1:80", "old-5ecret");
    for new in [
        file(&other, "token-2:80", "new-5ecret"),
        file(http, "token-2:80", "new-5ecret"),
        file("", "token-2:80", "new-5ecret"),
        "services.www = { listen = 8080, pool = 'token' }\npools.token.groups = [{ backends = ['a:80'] }]".to_owned(),
    ] {
        for (old, new) in [(&old, &new), (&new, &old)] {
            let [text, told] = differences(old, new);
            assert_eq!(told, text);
            assert!(text.contains("token") && !text.contains("5ecret"), "{text}");
        }
    }
    for wrong in
        ["token = 5ecret", "token = 5ecret-and more", "token = '5ecret", "token = ['5ecret']", "token = '5 ecret'"]
    {
        let [text, told] = differences(&old, &file(&format!("{http}\n{wrong}"), "token-1:80", ""));
        assert!(text.contains("ecret") && !told.contains("ecret"), "{told}");
    }
}

#[test]
fn what_checks_send_besides_is_not_told_either() {
    let (staged, secret) = (staged(), "Bearer 5ecret");
    let check =
        format!("checks = [\n  {{ http = \"/\", headers = [\"Authorization: {secret}\"], expect = \"UP\" }},\n]\n");
    *staged.dump.lock().unwrap() = check;
    let excerpt =
        format!("lb.toml:2:3: unknown key 'x'\n  2 | x = 1, headers = [\"Authorization: {secret}\"]\n    | ^");
    *staged.reload.lock().unwrap() = Err(excerpt);
    let web = Web::new(Arc::clone(&staged) as _);
    let dump = web.get("/v1/dump").body;
    assert!(dump.contains("headers = [\"Authorization: ***\"], expect = \"UP\""), "{dump}");
    let refused = web.post("/v1/reload", "");
    assert_eq!(refused.error(), "lb.toml:2:3: unknown key 'x'", "{}", refused.body);
}

#[test]
fn a_refusal_names_what_is_wrong() {
    let web = Web::new(staged());
    let gets = [
        ("/v1/pools/wbe", 404, "there is no pool 'wbe': did you mean 'web'?"),
        ("/v1/nothing", 404, "there is no '/v1/nothing': GET / tells what there is"),
        ("/v1/dump?x=1", 400, "there is no parameter 'x=1' here"),
        ("/v1/pools/web/explain", 400, "'' is not what explain takes: ?client=ADDRESS, such as ?client=192.0.2.7"),
        ("/v1/pools/web/explain?client=x", 400, "'x' is not the address of a client, 192.0.2.7 or 2001:db8::7"),
        ("/%ff", 400, "'%ff' is no part of a path"),
    ];
    for (path, status, error) in gets {
        let answer = web.get(path);
        assert_eq!((answer.status, answer.error().as_str()), (status, error), "{path}");
    }
    let posts = [
        ("/v1/kill", "", 404, "kill is not offered over HTTP: use the control socket, or send SIGTERM to the process"),
        ("/v1/pools/web/groups/99/hash", "", 404, "there is no group 99 in pool 'web'"),
        ("/v1/pools/web/groups/x/hash", "", 400, "'x' is not the number of a group"),
        ("/v1/pools/web/groups/0/channels/2/enable", "", 404, "there is no channel 2 in group 0 of pool 'web'"),
        ("/v1/pools/web/groups/0/channels/-/enable", "", 400, "'-' is not the number of a channel"),
        (
            "/v1/pools/web/groups/0/channels/0/disabel",
            "",
            404,
            "there is no order 'disabel' of a channel: did you mean 'disable'?",
        ),
        (
            "/v1/pools/web/monitor/stop",
            "",
            404,
            "there is no order 'stop' of a monitor: expected one of enable, disable",
        ),
        (
            "/v1/pools/web/groups/0/channels/0/assign",
            "{\"host\":\"a\",\"port\":1}",
            409,
            "channel must be disabled to assign new address",
        ),
        (
            "/v1/pools/web/groups/0/create",
            "{\"host\":\"unknown\",\"port\":1}",
            400,
            "invalid address: unknown host 'unknown'",
        ),
        (
            "/v1/pools/web/groups/0/create",
            "{\"host\":\"a b; disable 0\",\"port\":1}",
            400,
            "invalid address: 'a b; disable 0' and '1' are no host and its port",
        ),
    ];
    for (path, body, status, error) in posts {
        let answer = web.post(path, body);
        assert_eq!((answer.status, answer.error().as_str()), (status, error), "{path}");
    }
}

#[test]
fn a_body_is_read_strictly() {
    let web = Web::new(staged());
    let rows = [
        ("weight", "", "'weight' is missing"),
        ("weight", "{\"weight\":70000}", "weight: expected a number from 0 to 65535, not 70000"),
        ("weight", "{\"weight\":\"5\"}", "weight: expected a number from 0 to 65535, not \"5\""),
        ("weight", "{\"wieght\":5}", "unknown key 'wieght': expected weight"),
        ("weight", "[5]", "expected a JSON object, such as {\"weight\": 5}"),
        ("maxc", "{\"limit\":0}", "limit: expected a number from 1 to 4294967295, or null for any number, not 0"),
        ("assign", "{\"host\":\"a\"}", "'port' is missing"),
        ("assign", "{\"host\":1,\"port\":1}", "host: expected a text, not 1"),
        ("assign", "{\"host\":\"a\",\"port\":-1}", "port: expected a port's number or name, not -1"),
        ("enable", "{\"channel\":1}", "unknown key 'channel': this takes no body"),
    ];
    for (verb, body, error) in rows {
        let answer = web.post(&format!("{CHANNEL}/{verb}"), body);
        assert_eq!((answer.status, answer.error().as_str()), (400, error), "{body}");
    }
    let broken = web.post(&format!("{CHANNEL}/weight"), "{\"weight\":");
    assert!(broken.status == 400 && broken.error().starts_with("the body is no JSON: "), "{}", broken.body);
    let long = web.post(&format!("{CHANNEL}/weight"), &" ".repeat(64 * 1024 + 1));
    assert_eq!((long.status, long.error().as_str()), (413, "the body is longer than 65536 bytes"));
    let head = "Host: localhost\r\nConnection: close\r\nContent-Length: 12\r\nContent-Type: text/plain";
    let plain = web.say(&format!("POST {CHANNEL}/weight HTTP/1.1\r\n{head}\r\n\r\n{{\"weight\":5}}"));
    assert_eq!(plain.status, 415, "{}", plain.body);
}

#[test]
fn another_method_is_told_which_would_do() {
    let web = Web::new(staged());
    let reload = web.get("/v1/reload");
    assert_eq!((reload.status, reload.header("allow")), (405, Some("POST")));
    let dump = web.post("/v1/dump", "");
    assert_eq!((dump.status, dump.header("allow")), (405, Some("GET, HEAD")));
    let head = web.say("HEAD /v1/dump HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!((head.status, head.body.as_str(), head.header("content-length")), (200, "", Some("18")));
    for method in ["OPTIONS", "PUT", "DELETE"] {
        let request = format!("{method} {CHANNEL}/enable HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert_eq!(web.say(&request).status, 405, "{method}");
    }
}

#[test]
fn pages_of_other_sites_get_nowhere_without_a_token() {
    let staged = staged();
    let web = Web::new(Arc::clone(&staged) as _);
    let status = |request: &str| web.say(&format!("{request}\r\nConnection: close\r\n\r\n")).status;
    let host = web.tcp();
    for good in ["localhost", "localhost:9480", "127.0.0.1", "[::1]:9480", "192.0.2.1", &host.to_string()] {
        assert_eq!(status(&format!("GET /v1/pools HTTP/1.1\r\nHost: {good}")), 200, "{good}");
    }
    for foreign in ["evil.example", "127.0.0.1.evil.example:9480", "localhost.evil.example"] {
        assert_eq!(status(&format!("GET /v1/pools HTTP/1.1\r\nHost: {foreign}")), 403, "{foreign}");
    }
    assert_eq!(status("GET http://evil.example/v1/pools HTTP/1.1\r\nHost: localhost"), 403);
    assert_eq!(status("GET /v1/pools HTTP/1.1"), 400, "browsers name a host");
    let order = format!("POST {CHANNEL}/disable HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0");
    for page in ["Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"] {
        assert_eq!(status(&format!("{order}\r\n{page}")), 403, "{page}");
    }
    assert_eq!(staged.fleet("web").stats().backends[0].status, Status::Enabled);
    assert_eq!(status(&order), 200);
}

#[test]
fn with_a_token_only_those_who_have_it_are_answered() {
    let staged = staged();
    let web = Web::at(&loopback(), Arc::clone(&staged) as _, Some(TOKEN), Limits::default());
    let order =
        format!("POST {CHANNEL}/disable HTTP/1.1\r\nHost: lb.example\r\nConnection: close\r\nContent-Length: 0");
    let wrong =
        ["Accept: */*", "Authorization: Bearer", "Authorization: Bearer 6f1d0c6a2b7e4d5", "Authorization: Basic eDp5"];
    for header in wrong {
        let answer = web.say(&format!("{order}\r\n{header}\r\n\r\n"));
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer realm=\"lb\"")), "{header}");
        assert!(answer.error().contains("Authorization: Bearer TOKEN"));
    }
    assert_eq!(web.get("/").status, 401, "nothing is told without it");
    assert_eq!(staged.fleet("web").stats().backends[0].status, Status::Enabled);
    let shown = web.say(&format!("{order}\r\nAuthorization: bearer {TOKEN}\r\nOrigin: http://lb.example\r\n\r\n"));
    assert_eq!(shown.status, 200, "who has it may be a browser: {}", shown.body);
}

#[tokio::test]
async fn where_others_can_reach_it_a_token_is_wanted() {
    let everywhere = HttpAddress::Tcp("0.0.0.0:0".parse().unwrap());
    let listener = Listener::bind(&everywhere).unwrap();
    let served = http::serve(listener, staged(), None, Limits::default(), async {}).await;
    assert!(matches!(served, Err(http::ServeError::NoToken(_))), "{served:?}");
    let listener = Listener::bind(&everywhere).unwrap();
    let token = Some(TOKEN.parse().unwrap());
    http::serve(listener, staged(), token, Limits::default(), async {}).await.unwrap();
}

#[test]
fn a_unix_socket_is_ours_alone_and_goes_with_its_owner() {
    let scratch = Scratch::new();
    let path = scratch.0.join("http");
    let web = Web::at(&unix(path.clone()), staged(), None, Limits::default());
    assert_eq!(mode(&path), 0o600);
    let answer = web.say("GET /v1/pools HTTP/1.1\r\nHost: whatever\r\nConnection: close\r\n\r\n");
    assert_eq!(answer.status, 200, "its clients may call it what they like");
    let error = Listener::bind(&unix(path.clone())).unwrap_err();
    assert!(matches!(error, ListenError::InUse { .. }), "{error}");
    assert!(error.to_string().ends_with(&format!("another process does (pid {})", std::process::id())), "{error}");
    drop(web);
    assert!(!path.exists());
}

#[test]
fn a_socket_of_the_dead_is_replaced_and_nothing_else_is() {
    let scratch = Scratch::new();
    let path = scratch.0.join("made").join("http");
    drop(Listener::bind(&unix(path.clone())).unwrap());
    assert_eq!(mode(path.parent().unwrap()), 0o700, "the directory was made");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listener = Listener::bind(&unix(path.clone())).unwrap();
    // Somebody has put another one there: it is not ours to remove.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "a file").unwrap();
    drop(listener);
    let error = Listener::bind(&unix(path.clone())).unwrap_err();
    assert!(matches!(error, ListenError::NoSocket(_)), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
}

#[test]
fn where_others_may_write_there_is_no_socket() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = Scratch::new();
    let open = scratch.0.join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = Listener::bind(&unix(open.join("http"))).unwrap_err();
    assert!(error.to_string().contains("others may write there (mode 0777), chmod go-w"), "{error}");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(Listener::bind(&unix(open.join("http"))).is_ok(), "the sticky bit keeps it in place");
}
