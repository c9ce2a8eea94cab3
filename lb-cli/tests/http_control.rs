//! `control.http`: what control offers over HTTP is the same `lb` that `-c` sees.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod support;

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use rustix::process::Signal;
use serde_json::json;
use support::{Backend, File, Http, Running, ask, ask_times, bare_command, fresh_address, run};

const TOKEN: &str = "6f1d0c6a2b7e4d58";

/// An `lb run` with one service that is controlled over HTTP.
struct Lb {
    running: Running,
    file: File,
    front: SocketAddr,
    http: Http,
}

/// A service over these backends.
fn text(front: SocketAddr, backends: &[&Backend]) -> String {
    let words: Vec<String> = backends.iter().map(|backend| backend.word()).collect();
    format!("[pools.web]\ngroups = \"{}\"\n[services.www]\nlisten = \"{front}\"\npool = \"web\"\n", words.join(" "))
}

impl Lb {
    /// With more in the table of control.
    fn start(http: Http, more: &str, backends: &[&Backend]) -> Self {
        let front = fresh_address();
        let file = File::with_control(&text(front, backends), &keys(&http, more));
        let running = file.run();
        running.line_with("controlled over HTTP at");
        Self { running, file, front, http }
    }

    fn over_tcp(backends: &[&Backend]) -> Self {
        Self::start(Http::Tcp(fresh_address()), "", backends)
    }

    fn rewrite(&self, backends: &[&Backend]) {
        self.file.rewrite_with_control(&text(self.front, backends), &keys(&self.http, ""));
    }

    /// What a series of a backend counts; nothing when there is none.
    fn metric(&self, name: &str, backend: &Backend) -> Option<u64> {
        let series = format!("{name}{{pool=\"web\",group=\"0\",backend=\"{}\"}} ", backend.word());
        let metrics = self.http.get("/metrics").good();
        metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
    }
}

fn keys(http: &Http, more: &str) -> String {
    format!("http = \"{}\"\n{more}", http.word())
}

/// A path for a socket that is as long as the test's directory.
fn socket(directory: &support::Directory) -> Http {
    Http::Unix(directory.join("http"))
}

#[test]
fn services_and_pools_are_told_at_an_address_and_at_a_unix_socket() {
    let (alpha, directory) = (Backend::start("alpha"), support::Directory::new());
    for http in [Http::Tcp(fresh_address()), socket(&directory)] {
        let lb = Lb::start(http, "", &[&alpha]);
        assert_eq!(ask(lb.front), "alpha");
        let services = lb.http.get("/v1/services").json();
        let www = json!({ "service": "www", "pool": "web", "listen": [lb.front.to_string()] });
        assert_eq!(services["services"], json!([www]));
        let pools = lb.http.get("/v1/pools").json();
        assert_eq!((&pools["pools"][0]["pool"], &pools["pools"][0]["channels"]), (&json!("web"), &json!(1)));
        let pool = lb.http.get("/v1/pools/web").json();
        assert_eq!(pool["groups"][0]["channels"].as_array().unwrap(), &lb.file.channels(lb.front, 0));
        assert_eq!(pool["groups"][0]["channels"][0]["name"], alpha.word());
        assert_eq!(lb.http.get("/v1/pools/wed").status, 404);
    }
}

#[test]
fn orders_change_what_show_shows_and_whom_clients_reach() {
    let [alpha, beta, gamma] = ["alpha", "beta", "gamma"].map(Backend::start);
    let lb = Lb::over_tcp(&[&alpha, &beta]);
    let channel = |number: usize| lb.file.channels(lb.front, 0)[number].clone();
    let said = lb.http.post("/v1/pools/web/groups/0/channels/0/disable", "").json();
    let kept = said["permanence"].as_str().unwrap();
    assert!(said["ok"] == true && kept.contains(&lb.file.path), "{said}");
    assert_eq!((channel(0)["state"].as_str(), ask_times(3, lb.front)), (Some("DIS"), vec!["beta".to_owned(); 3]));
    lb.http.post("/v1/pools/web/groups/0/channels/0/enable", "").good();
    assert_eq!(channel(0)["state"], "ENA");
    lb.http.post("/v1/pools/web/groups/0/channels/1/weight", "{\"weight\": 3}").good();
    lb.http.post("/v1/pools/web/groups/0/channels/1/maxc", "{\"limit\": 7}").good();
    assert_eq!((channel(1)["weight"].as_u64(), channel(1)["limit"].as_u64()), (Some(3), Some(7)));
    assert_eq!(ask_times(4, lb.front).iter().filter(|name| *name == "beta").count(), 3);
    let (ip, port) = (gamma.address.ip(), gamma.address.port());
    let body = format!("{{\"host\": \"{ip}\", \"port\": {port}}}");
    lb.http.post("/v1/pools/web/groups/0/create", &body).good();
    assert_eq!((channel(2)["name"].as_str(), channel(2)["state"].as_str()), (Some(&*gamma.word()), Some("DIS")));
    lb.http.post("/v1/pools/web/groups/0/channels/2/enable", "").good();
    assert!(ask_times(5, lb.front).contains(&"gamma".to_owned()));
    // What -c orders is seen over HTTP.
    lb.file.must(lb.front, "disable 2");
    assert_eq!(lb.http.get("/v1/pools/web").json()["groups"][0]["channels"][2]["state"], "DIS");
    assert_eq!(lb.http.post("/v1/pools/web/groups/0/channels/9/enable", "").status, 404);
    assert_eq!(lb.http.get("/v1/pools/web/groups/0/channels/0/enable").status, 405);
}

#[test]
fn a_reload_a_difference_and_a_dump_are_to_be_had() {
    let [alpha, beta] = ["alpha", "beta"].map(Backend::start);
    let lb = Lb::over_tcp(&[&alpha]);
    assert_eq!(lb.http.get("/v1/diff").json()["lines"], json!([]), "nothing is new");
    lb.rewrite(&[&alpha, &beta]);
    let new = lb.http.get("/v1/diff").json();
    assert!(new["text"].as_str().unwrap().contains(&beta.word()), "{new}");
    assert_eq!(ask_times(2, lb.front), ["alpha"; 2], "it was only asked");
    let done = lb.http.post("/v1/reload", "").json();
    assert_eq!((&done["ok"], &done["lines"]), (&json!(true), &new["lines"]));
    assert!(ask_times(2, lb.front).contains(&"beta".to_owned()));
    lb.http.post("/v1/pools/web/groups/0/channels/0/disable", "").good();
    let dump = lb.http.get("/v1/dump").good();
    assert_eq!(dump, lb.file.must(lb.front, "dump"));
    let path = lb.file.directory.join("dump.toml");
    fs::write(&path, &dump).unwrap();
    let said = run(&mut bare_command(&["check", &path]));
    assert!(said.status.success() && said.stderr.is_empty(), "{said:?} {dump}");
    let other = lb.http.get("/v1/loaded").good();
    assert!(!other.contains("disabled") && dump.contains("disabled"), "{other} {dump}");
    fs::write(&lb.file.path, "[pools.web]\ngroups = 7\n").unwrap();
    let refused = lb.http.post("/v1/reload", "");
    assert!(refused.status == 409 && refused.error().contains(&lb.file.path), "{refused:?}");
    assert_eq!(ask(lb.front), "beta");
}

#[test]
fn series_of_a_backend_last_as_long_as_it_and_counters_go_on_over_a_reload() {
    let [alpha, beta, gamma] = ["alpha", "beta", "gamma"].map(Backend::start);
    let lb = Lb::over_tcp(&[&alpha, &beta]);
    let picks = |backend| lb.metric("lb_backend_picks_total", backend);
    ask_times(6, lb.front);
    assert_eq!([picks(&alpha), picks(&beta), picks(&gamma)], [Some(3), Some(3), None]);
    lb.rewrite(&[&alpha, &gamma]);
    lb.http.post("/v1/reload", "").good();
    assert_eq!([picks(&alpha), picks(&beta), picks(&gamma)], [Some(3), None, Some(0)]);
    assert!(!lb.http.get("/metrics").good().contains(&beta.word()), "none of its series is left");
    ask_times(4, lb.front);
    assert_eq!([picks(&alpha), picks(&gamma)].map(Option::unwrap).iter().sum::<u64>(), 7);
    let sent = lb.metric("lb_backend_received_bytes_total", &alpha).unwrap();
    assert!(sent > 0 && lb.metric("lb_backend_up", &alpha) == Some(1));
}

#[test]
fn a_token_is_wanted_where_one_is_given() {
    let alpha = Backend::start("alpha");
    let lb = Lb::start(Http::Tcp(fresh_address()), &format!("token = \"{TOKEN}\""), &[&alpha]);
    only_with_the_token(&lb);
    let dump = lb.http.with_token("/v1/dump", TOKEN).good();
    assert!(!dump.contains(TOKEN), "{dump}");
    let lb = Lb::over_tcp(&[&alpha]);
    assert_eq!(lb.http.get("/v1/services").status, 200, "it is wanted because it is given");
}

#[test]
fn a_token_may_be_in_a_file() {
    let (alpha, directory) = (Backend::start("alpha"), support::Directory::new());
    let path = directory.join("token");
    fs::write(&path, format!("{TOKEN}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let more = format!("token_file = \"{path}\"");
    let lb = Lb::start(Http::Tcp(fresh_address()), &more, &[&alpha]);
    only_with_the_token(&lb);
    assert!(lb.http.with_token("/v1/dump", TOKEN).good().contains(&path));
    for (prepare, why) in [
        ((|path: &str| fs::write(path, "two words\n").unwrap()) as fn(&str), "has no token in it"),
        (|path: &str| fs::remove_file(path).unwrap(), "No such file"),
    ] {
        prepare(&path);
        let front = fresh_address();
        let file = File::with_control(&text(front, &[&alpha]), &keys(&Http::Tcp(fresh_address()), &more));
        let lb = file.run();
        let line = lb.line_with("control.token_file");
        assert!(line.contains(&path) && line.contains(why), "{line}");
        assert!(!lb.ended().0.success() && TcpStream::connect(front).is_err());
    }
}

fn only_with_the_token(lb: &Lb) {
    for path in ["/", "/metrics", "/v1/services", "/v1/dump", "/v1/nothing"] {
        let [without, wrong] = [lb.http.get(path), lb.http.with_token(path, "6f1d0c6a2b7e4d59")];
        assert_eq!((without.status, wrong.status), (401, 401), "{path}: {without:?} {wrong:?}");
    }
    assert_eq!(lb.http.post("/v1/pools/web/groups/0/channels/0/disable", "").status, 401);
    assert_eq!(ask(lb.front), "alpha");
    assert_eq!(lb.http.with_token("/v1/services", TOKEN).status, 200);
}

#[test]
fn a_port_that_is_taken_is_an_error_and_nothing_is_served() {
    let alpha = Backend::start("alpha");
    let [front, taken] = [fresh_address(), fresh_address()];
    let _other = TcpListener::bind(taken).unwrap();
    let file = File::with_control(&text(front, &[&alpha]), &keys(&Http::Tcp(taken), ""));
    let (status, lines) = file.run().ended();
    let line = lines.last().cloned().unwrap_or_default();
    assert!(line.contains("control.http") && line.contains(&taken.to_string()), "{lines:?}");
    assert!(!status.success() && !lines.iter().any(|line| line.contains("listening on 1")), "{lines:?}");
    assert!(TcpStream::connect(front).is_err());
    assert!(!fs::exists(file.directory.join(&format!("control/{}.{}", front.port(), front.ip()))).unwrap());
}

#[test]
fn a_socket_at_which_another_lb_answers_is_left_to_it() {
    let (alpha, directory) = (Backend::start("alpha"), support::Directory::new());
    let first = Lb::start(socket(&directory), "", &[&alpha]);
    let file = File::with_control(&text(fresh_address(), &[&alpha]), &keys(&first.http, ""));
    let (status, lines) = file.run().ended();
    let (whom, who) = (first.http.word(), format!("(pid {})", first.running.id()));
    assert!(!status.success());
    assert!(
        lines.iter().any(|line| line.contains("control.http") && line.contains(&whom) && line.contains(&who)),
        "{lines:?}"
    );
    assert_eq!(first.http.get("/v1/services").status, 200);
}

#[test]
fn the_unix_socket_is_removed_at_the_end() {
    let (alpha, directory) = (Backend::start("alpha"), support::Directory::new());
    let lb = Lb::start(socket(&directory), "", &[&alpha]);
    let Http::Unix(path) = &lb.http else { unreachable!() };
    assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
    lb.running.signal(Signal::TERM);
    assert!(lb.running.ended().0.success());
    assert!(!fs::exists(path).unwrap());
}

/// The directory is made by root; who `lb` becomes must reach the socket, and take it away.
#[test]
fn the_unix_socket_is_the_users_that_lb_becomes_and_removed_by_it() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root can become somebody else");
    }
    let (alpha, directory) = (Backend::start("alpha"), support::Directory::new());
    let path = directory.join("own/http");
    let (front, http) = (fresh_address(), Http::Unix(path.clone()));
    let with_user = format!("process.user = \"4321:8765\"\n{}", text(front, &[&alpha]));
    let file = File::with_control(&with_user, &keys(&http, ""));
    let lb = file.run();
    lb.line_with("controlled over HTTP at");
    for there in [Path::new(&path), Path::new(&path).parent().unwrap()] {
        let found = fs::symlink_metadata(there).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o077), (4321, 8765, 0), "{}", there.display());
    }
    assert_eq!(http.get("/v1/services").status, 200);
    lb.signal(Signal::TERM);
    assert!(lb.ended().0.success());
    assert!(!fs::exists(&path).unwrap());
    // Root starts there once more.
    let lb = file.run();
    lb.line_with("controlled over HTTP at");
    assert_eq!(http.get("/v1/services").status, 200);
}
