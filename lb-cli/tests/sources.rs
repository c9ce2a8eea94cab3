//! Backends from node files and from DNS, in an `lb run` that serves: what the source says counts soon, and a source that
//! says nothing good changes nothing.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod support;

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use support::{Backend, File, PORT, Running, Session, ask_times, bare_command, fresh_address, run};

/// A change counts within 3 s; the rest is for a machine that has a lot to do.
const SOON: Duration = Duration::from_secs(10);

/// A service in front of a pool of its own that has one group with these keys.
fn served(name: &str, front: SocketAddr, group: &str) -> String {
    format!("[services.{name}]\nlisten = \"{front}\"\npool = \"{name}\"\n[[pools.{name}.groups]]\n{group}\n")
}

/// Until what a source has said since counts.
fn counted(lb: &Running) {
    lb.line_with(" now: ");
    lb.line_with("configuration changed: ");
}

/// An `lb run` with one service, whose backends are in a node file.
struct Lb {
    running: Running,
    file: File,
    front: SocketAddr,
    nodes: String,
}

impl Lb {
    fn start(nodes: &str) -> Self {
        let (file, front) = (File::new(""), fresh_address());
        let path = file.directory.join("nodes");
        fs::write(&path, nodes).unwrap();
        file.rewrite(&served("www", front, &format!("nodes = \"{path}\"")));
        let running = file.run();
        running.line_with("listening on");
        Self { running, file, front, nodes: path }
    }

    /// Puts this into the node file, and waits until it counts.
    fn becomes(&self, nodes: &str) {
        fs::write(&self.nodes, nodes).unwrap();
        counted(&self.running);
    }

    fn name(&self, channel: usize) -> String {
        self.file.channels(self.front, 0)[channel]["name"].as_str().unwrap().to_owned()
    }

    fn statuses(&self) -> Vec<String> {
        let channels = self.file.channels(self.front, 0);
        channels.iter().map(|channel| channel["status"].as_str().unwrap().to_owned()).collect()
    }
}

/// A line for each.
fn nodes(backends: &[&Backend]) -> String {
    backends.iter().map(|backend| format!("{}\n", backend.word())).collect()
}

/// Who answers so many clients, each once.
fn who(front: SocketAddr, times: usize) -> Vec<String> {
    let mut names = ask_times(times, front);
    names.sort();
    names.dedup();
    names
}

#[test]
fn an_edit_of_a_node_file_counts_within_3_seconds_without_any_traffic() {
    let [alpha, beta, gamma] = ["alpha", "beta", "gamma"].map(Backend::start);
    let lb = Lb::start(&nodes(&[&alpha]));
    let other = lb.file.directory.join("other");
    let edits: [(bool, &[&Backend], &[&str]); 4] = [
        (false, &[&alpha, &beta], &["alpha", "beta"]),
        (true, &[&beta, &gamma], &["beta", "gamma"]),
        (false, &[&alpha], &["alpha"]),
        (true, &[&gamma], &["gamma"]),
    ];
    for (by_rename, backends, names) in edits {
        let began = Instant::now();
        fs::write(if by_rename { &other } else { &lb.nodes }, nodes(backends)).unwrap();
        if by_rename {
            fs::rename(&other, &lb.nodes).unwrap();
        }
        counted(&lb.running);
        println!("{names:?} after {:?}", began.elapsed());
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        assert_eq!(who(lb.front, 6), names);
    }
}

#[test]
fn a_node_that_was_removed_gets_no_connection_and_its_sessions_go_on() {
    let [alpha, beta] = ["alpha", "beta"].map(Backend::start);
    let lb = Lb::start(&nodes(&[&alpha, &beta]));
    let mut sessions = [(); 6].map(|()| Session::open(lb.front));
    lb.becomes(&nodes(&[&alpha]));
    assert_eq!(ask_times(30, lb.front), ["alpha"; 30]);
    assert_eq!(sessions.iter().filter(|session| session.name == "beta").count(), 3);
    assert!(sessions.iter_mut().all(Session::echoes));
    let shown = lb.file.channels(lb.front, 0);
    assert_eq!((shown.len(), shown[0]["picked"].as_u64()), (1, Some(33)), "{shown:?}");
}

#[test]
fn a_file_that_says_nothing_good_changes_nothing_is_told_once_and_recovers() {
    let [alpha, beta] = ["alpha", "beta"].map(Backend::start);
    let file = File::new("");
    let bad: [(&str, Option<&str>, &str); 3] = [
        ("line", Some("127.0.0.1:80\n127.0.0.1:80:many\n"), ":2: 127.0.0.1:80:many: "),
        ("empty", Some("# nobody\n"), ": there is no backend in it"),
        ("missing", None, ": cannot read it: No such file"),
    ];
    let places = bad.map(|(name, ..)| (fresh_address(), file.directory.join(name)));
    let services = bad.iter().zip(&places).map(|((name, ..), (front, path))| {
        fs::write(path, nodes(&[&alpha])).unwrap();
        served(name, *front, &format!("nodes = \"{path}\""))
    });
    let (good, by_the_way) = (file.directory.join("good"), fresh_address());
    fs::write(&good, nodes(&[&alpha])).unwrap();
    let text = services.collect::<String>() + &served("good", by_the_way, &format!("nodes = \"{good}\""));
    file.rewrite(&text);
    let lb = file.run();
    (0..4).for_each(|_| drop(lb.line_with("listening on")));
    for ((_, text, _), (_, path)) in bad.iter().zip(&places) {
        text.map_or_else(|| fs::remove_file(path), |text| fs::write(path, text)).unwrap();
    }
    let mut told: Vec<String> = (0..3).flat_map(|_| lb.lines_to("the last good list stays in use")).collect();
    for ((_, _, why), (front, path)) in bad.iter().zip(&places) {
        let expected = format!("{path}{why}");
        assert!(told.iter().any(|line| line.contains(&expected)), "{expected}: {told:#?}");
        assert_eq!(ask_times(3, *front), ["alpha"; 3]);
    }
    // All files are looked at as often as this one, and so twice at least.
    for backends in [&[&beta][..], &[&alpha], &[&beta]] {
        fs::write(&good, nodes(backends)).unwrap();
        told.extend(lb.lines_to("configuration changed: "));
    }
    places.iter().for_each(|(_, path)| fs::write(path, nodes(&[&beta])).unwrap());
    told.extend((0..3).flat_map(|_| lb.lines_to("configuration changed: ")));
    for (front, path) in &places {
        assert_eq!(ask_times(3, *front), ["beta"; 3]);
        let count = |text: &str| told.iter().filter(|line| line.contains(path) && line.contains(text)).count();
        assert_eq!((count("stays in use"), count("a good list again")), (1, 1), "{path}: {told:#?}");
    }
}

#[test]
fn an_order_on_a_backend_that_was_found_survives_a_change_of_the_file_and_is_in_the_dump() {
    let [alpha, beta, gamma] = ["alpha", "beta", "gamma"].map(Backend::start);
    let lb = Lb::start(&nodes(&[&alpha, &beta]));
    lb.file.must(lb.front, "disable 1");
    lb.becomes(&nodes(&[&alpha, &beta, &gamma]));
    assert_eq!(lb.statuses(), ["enabled", "disabled", "enabled"]);
    assert_eq!((who(lb.front, 6), lb.name(1)), (vec!["alpha".to_owned(), "gamma".to_owned()], beta.word()));
    let dump = lb.file.must(lb.front, "dump");
    assert!(dump.contains(&format!("nodes = [\"{}\"]", lb.nodes)), "{dump}");
    assert!(dump.contains(&beta.word()) && dump.contains("disabled"), "{dump}");
    assert!(!dump.contains(&alpha.word()) && !dump.contains(&gamma.word()), "{dump}");
    let path = lb.file.directory.join("dump.toml");
    fs::write(&path, &dump).unwrap();
    let said = run(&mut bare_command(&["check", &path]));
    assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
    lb.becomes(&nodes(&[&gamma, &beta]));
    assert_eq!(who(lb.front, 4), ["gamma"], "beta is disabled still");
    lb.file.must(lb.front, "reload");
    assert_eq!(who(lb.front, 4), ["gamma"], "the file says nothing new about it");
}

#[test]
fn a_backend_that_is_listed_too_is_there_once_as_it_is_listed() {
    let [alpha, beta] = ["alpha", "beta"].map(Backend::start);
    let (file, front) = (File::new(""), fresh_address());
    let path = file.directory.join("nodes");
    fs::write(&path, nodes(&[&alpha, &beta])).unwrap();
    let group = format!("backends = [\"{}:7:2\"]\nnodes = \"{path}\"", beta.word());
    file.rewrite(&served("www", front, &group));
    let lb = file.run();
    lb.line_with("listening on");
    let shown = file.channels(front, 0);
    assert_eq!((shown.len(), shown[0]["limit"].as_u64(), shown[0]["weight"].as_u64()), (2, Some(7), Some(2)));
    assert_eq!(ask_times(3, front).iter().filter(|name| *name == "beta").count(), 2);
}

/// How `/etc/hosts` says that these are the addresses of `web.test`.
fn hosts(backends: &[&Backend]) -> String {
    backends.iter().map(|backend| format!("{} web.test\n", backend.address.ip())).collect()
}

#[test]
fn each_address_of_a_name_is_a_backend_and_the_last_good_answer_stays() {
    let [alpha, beta, gamma] = ["alpha", "beta", "gamma"].map(Backend::start);
    let (front, path) = (fresh_address(), "etc");
    let file = File::new(&served("www", front, &format!("dns = \"web.test:{PORT}:9\"")));
    let etc = file.directory.join(path);
    let has = |lines: &str| fs::write(format!("{etc}/hosts"), lines).unwrap();
    fs::create_dir(&etc).unwrap();
    has(&hosts(&[&alpha, &beta]));
    // Nobody else is asked, whatever this machine has been told.
    fs::write(format!("{etc}/nsswitch.conf"), "hosts: files\n").unwrap();
    let prepare = "mount --bind $0/hosts /etc/hosts && mount --bind $0/nsswitch.conf /etc/nsswitch.conf";
    let Some(lb) = file.run_in_its_own_file_system(prepare, &etc) else { return };
    lb.line_with("listening on");
    assert_eq!(who(front, 6), ["alpha", "beta"]);
    assert!(file.channels(front, 0).iter().all(|channel| channel["limit"] == 9));
    file.must(front, "disable 1");
    let ordered = file.channels(front, 0)[1]["name"].clone();
    let began = Instant::now();
    has(&hosts(&[&alpha, &beta, &gamma]));
    counted(&lb);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    let channels = file.channels(front, 0);
    assert_eq!(channels.len(), 3);
    let disabled: Vec<_> = channels.iter().filter(|channel| channel["status"] == "disabled").collect();
    assert!(disabled.len() == 1 && disabled[0]["name"] == ordered, "{channels:?}");
    has("127.0.0.1 localhost\n");
    let line = lb.line_with("the last good list stays in use");
    assert!(line.contains("web.test"), "{line}");
    assert_eq!(who(front, 6).len(), 2, "the last good answer");
    has(&hosts(&[&gamma]));
    let lines = lb.lines_to("configuration changed: ");
    assert!(lines.iter().any(|line| line.contains("a good list again")), "{lines:#?}");
    assert_eq!(who(front, 3), ["gamma"]);
}

#[test]
fn a_node_file_that_is_missing_at_the_start_is_named_and_a_check_warns_of_its_line() {
    let (file, front) = (File::new(""), fresh_address());
    let path = file.directory.join("nodes");
    file.rewrite(&served("www", front, &format!("nodes = \"{path}\"")));
    let said = run(&mut bare_command(&["run", "--config", &file.path]));
    let text = String::from_utf8(said.stderr).unwrap();
    let expected = format!("no backends from a source: {path}: cannot read it: No such file");
    assert!(!said.status.success() && text.contains(&expected), "{:?} {text}", said.status);
    assert!(std::net::TcpStream::connect(front).is_err());
    let said = run(&mut bare_command(&["check", &file.path]));
    let text = String::from_utf8([said.stderr, said.stdout].concat()).unwrap();
    assert!(said.status.success() && text.contains("; 1 warning"), "{text}");
    assert!(
        text.contains(&format!("{}:5:", file.path)) && text.contains(&format!("warning: {path}: cannot")),
        "{text}"
    );
}

#[test]
fn a_reload_adds_and_removes_sources() {
    let [alpha, beta, gamma] = ["alpha", "beta", "gamma"].map(Backend::start);
    let (file, front, other) = (File::new(""), fresh_address(), fresh_address());
    let [one, two] = ["one", "two"].map(|name| file.directory.join(name));
    fs::write(&one, nodes(&[&alpha])).unwrap();
    let text = |www: &str| served("www", front, www) + &served("other", other, &format!("nodes = \"{one}\""));
    file.rewrite(&text(&format!("backends = [\"{}\"]", gamma.word())));
    let lb = file.run();
    let _ = [(); 2].map(|()| lb.line_with("listening on"));
    assert_eq!(who(front, 2), ["gamma"]);
    // Without it nothing changes, and it is said why.
    file.rewrite(&text(&format!("nodes = [\"{one}\", \"{two}\"]")));
    let said = file.order(front, "reload");
    let why = String::from_utf8([said.stdout, said.stderr].concat()).unwrap();
    assert!(!said.status.success() && why.contains(&format!("{two}: cannot read it")), "{why}");
    assert_eq!(who(front, 2), ["gamma"]);
    fs::write(&two, nodes(&[&beta])).unwrap();
    file.must(front, "reload");
    assert_eq!(who(front, 4), ["alpha", "beta"]);
    lb.line_with("reloaded: ");
    fs::write(&two, nodes(&[&beta, &gamma])).unwrap();
    counted(&lb);
    assert_eq!(who(front, 6), ["alpha", "beta", "gamma"]);
    file.rewrite(&text(&format!("nodes = \"{one}\"")));
    file.must(front, "reload");
    assert_eq!(who(front, 3), ["alpha"]);
    lb.line_with("reloaded: ");
    // Both are looked at together, if both are: what is said of the second one would be said by then.
    fs::write(&two, nodes(&[&gamma])).unwrap();
    fs::write(&one, nodes(&[&alpha, &beta])).unwrap();
    let line = lb.line_with(" now: ");
    assert!(line.contains(&one), "{line}");
    assert_eq!(
        lb.line_with("configuration changed: "),
        format!("lb: other: configuration changed: added {}", beta.word())
    );
}
