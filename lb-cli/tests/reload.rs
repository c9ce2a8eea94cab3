//! A running `lb` follows its file: on SIGHUP and by `reload`, and what the file does not change stays as it is.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use rustix::process::Signal;
use serde_json::Value;
use support::{
    Backend, Control, File, Notices, Running, Session, Stop, ask, bare_command, command, fresh_address, run, wait_for,
};

/// `lb run` of a file that can be written anew.
struct Served {
    file: File,
    lb: Running,
    front: SocketAddr,
}

/// A service of this name.
fn service(name: &str, listen: &[SocketAddr], pool: &str, keys: &str) -> String {
    let listen: Vec<String> = listen.iter().map(|place| format!("\"{place}\"")).collect();
    format!("[services.{name}]\nlisten = [{}]\npool = \"{pool}\"\n{keys}\n", listen.join(", "))
}

fn pool(name: &str, groups: &str, keys: &str) -> String {
    format!("[pools.{name}]\ngroups = \"{groups}\"\nstart = \"first\"\n{keys}\n")
}

impl Served {
    /// The pool `web` with these groups behind the service `www`.
    fn web(groups: &str) -> Self {
        let front = fresh_address();
        Self::new(&(pool("web", groups, "") + &service("www", &[front], "web", "")), front)
    }

    fn new(text: &str, front: SocketAddr) -> Self {
        let file = File::new(text);
        let lb = file.run();
        lb.line_with(&format!("listening on {front}"));
        Self { file, lb, front }
    }

    fn write(&self, text: &str) {
        let control = self.file.directory.join("control");
        fs::write(&self.file.path, format!("{text}\n[control]\ndirectory = \"{control}\"\n")).unwrap();
    }

    /// Writes the file and loads it.
    fn reload(&self, text: &str) -> String {
        self.write(text);
        self.must("reload")
    }

    fn must(&self, order: &str) -> String {
        let said = self.file.order(self.front, order);
        assert!(said.status.success(), "{order}: {said:?}");
        String::from_utf8(said.stdout).unwrap()
    }

    /// A channel of group 0.
    fn channel(&self, number: usize) -> Value {
        let all: Value = serde_json::from_str(&self.must("show json")).unwrap();
        all["groups"][0]["channels"][number].clone()
    }
}

#[test]
fn what_the_file_changes_changes_and_everything_else_stays() {
    let [alpha, beta, gamma] = ["alpha", "beta", "gamma"].map(Backend::start);
    let [a, b, c] = [&alpha, &beta, &gamma].map(Backend::word);
    let served = Served::web(&format!("{a} {b}"));
    let front = served.front;
    assert_eq!([ask(front), ask(front), ask(front)], ["alpha", "beta", "alpha"]);
    let mut session = Session::open(front);
    assert_eq!(session.name, "beta");

    let text = pool("web", &format!("{a} {b}:9 {c}"), "") + &service("www", &[front], "web", "idle_timeout = \"1h\"");
    served.write(&text);
    assert_eq!(
        served.must("diff"),
        format!(
            "~ pool web: backend {b}: limit none -> 9\n~ pool web: + backend {c} in group 0\n\
             ~ service www: idle_timeout never -> 1h\n"
        )
    );
    served.lb.signal(Signal::HUP);
    served.lb.line_with("reloaded: 3 changes");
    served.lb.line_with(&format!("+ backend {c} in group 0"));

    // Counts, the session and the turn have gone on.
    assert_eq!((served.channel(1)["picked"].as_u64(), served.channel(1)["limit"].as_u64()), (Some(2), Some(9)));
    assert!(session.echoes());
    assert_eq!([(); 4].map(|()| ask(front)), ["alpha", "beta", "gamma", "alpha"]);
    assert_eq!(served.must("reload"), "reloaded, nothing has changed\n");
    assert_eq!(served.must("diff"), "a reload would change nothing\n");
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let alpha = Backend::start("alpha");
    let served = Served::web(&alpha.word());
    let good = fs::read_to_string(&served.file.path).unwrap();
    let taken = TcpListener::bind(fresh_address()).unwrap().local_addr().unwrap();
    let holder = TcpListener::bind(taken).unwrap();
    let file = |front: &[SocketAddr], groups: &str| pool("web", groups, "") + &service("www", front, "web", "");
    let front = served.front;
    for (text, why) in [
        ("[pools.web]\ngroops = \"a:1\"".to_owned(), ":2:1: unknown key 'groops': did you mean 'groups'?".to_owned()),
        (file(&[front], "nowhere.invalid:80"), "nowhere.invalid".to_owned()),
        (file(&[front, taken], "127.0.0.1:1"), format!("cannot listen on {taken}")),
        (pool("web", "127.0.0.1:1", ""), "there is no service".to_owned()),
    ] {
        fs::write(&served.file.path, &text).unwrap();
        let said = served.file.order(front, "reload");
        let reply = String::from_utf8([said.stdout, said.stderr].concat()).unwrap();
        assert!(!said.status.success() && reply.contains(&why), "{text}: {reply}");
        served.lb.line_with("not reloaded, everything stays as it is");
        assert!(served.lb.line_with("lb: ").contains(&why));
        assert_eq!(ask(front), "alpha");
    }
    // The tenth line of its kind, and behind it none for a while.
    served.lb.signal(Signal::HUP);
    served.lb.line_with("not reloaded");
    assert_eq!(ask(front), "alpha");
    fs::remove_file(&served.file.path).unwrap();
    assert!(!served.file.order(front, "reload").status.success());
    drop(holder);
    fs::write(&served.file.path, good).unwrap();
    assert_eq!(served.must("reload"), "reloaded, nothing has changed\n");
}

#[test]
fn a_service_that_is_removed_lets_its_sessions_go_on_for_its_grace() {
    let alpha = Backend::start("alpha");
    let (front, [one, two]) = (fresh_address(), [fresh_address(), fresh_address()]);
    let web = pool("web", &alpha.word(), "") + &service("www", &[front], "web", "");
    let more = service("one", &[one], "web", "grace = \"1h\"") + &service("two", &[two], "other", "grace = \"1ms\"");
    let served = Served::new(&(web.clone() + &pool("other", &alpha.word(), "") + &more), front);
    let (mut long, mut short) = (Session::open(one), Session::open(two));

    assert_eq!(served.reload(&web), "- pool other\n- service one\n- service two\n");
    served.lb.line_with(&format!("two: 1 session was cut after the grace period of {two}"));
    assert!(!short.echoes() && long.echoes());
    // What listens there is somebody else's from now on, and so is control.
    wait_for("the place that is no longer served", || TcpListener::bind(one).is_ok());
    assert!(TcpStream::connect(two).is_err());
    assert_eq!(served.file.order(one, "show").status.code(), Some(70));
    drop(long);
    served.lb.line_with(&format!("one: the last session from {one} has ended"));
    assert_eq!(ask(front), "alpha");
}

#[test]
fn a_place_that_stays_refuses_nobody_whatever_becomes_of_its_service() {
    let [alpha, beta] = ["alpha", "beta"].map(Backend::start);
    let (front, side) = (fresh_address(), fresh_address());
    let pools = pool("web", &alpha.word(), "") + &pool("api", &beta.word(), "");
    let as_it_was = pools.clone() + &service("www", &[front], "web", "");
    let served = Served::new(&as_it_was, front);
    let socket = || {
        let all = fs::read_to_string("/proc/net/tcp").unwrap();
        let SocketAddr::V4(front) = front else { panic!("{front}") };
        let place = format!("{:08X}:{:04X}", u32::from_ne_bytes(front.ip().octets()), front.port());
        let listens = |line: &&str| line.contains(&format!("{place} 00000000:0000 0A"));
        all.lines().filter(listens).map(|line| line.split_whitespace().nth(9).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (before, stop) = (socket(), AtomicBool::new(false));
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        let clients = [(); 2].map(|()| {
            scope.spawn(|| {
                let mut served = 0;
                while !stop.load(Relaxed) {
                    let name = ask(front);
                    assert!(["alpha", "beta"].contains(&name.as_str()), "{name}");
                    served += 1;
                }
                served
            })
        });
        for round in 0..20 {
            let keys = format!("idle_timeout = \"{}s\"\nclient_keepalive = \"{},1,1\"", round + 1, round + 1);
            served.reload(&(pools.clone() + &service("renamed", &[side, front], "api", &keys)));
            assert!(served.must("show json").contains(&beta.word()), "control follows the pool");
            served.reload(&as_it_was);
        }
        stop.store(true, Relaxed);
        assert!(clients.into_iter().map(|client| client.join().unwrap()).sum::<u32>() > 0);
    });
    assert!(!before.is_empty() && socket() == before, "the same sockets");
    assert_eq!(ask(front), "alpha");
}

#[test]
fn orders_survive_a_reload_until_the_file_says_something_new_about_the_same() {
    let [alpha, beta] = ["alpha", "beta"].map(Backend::start);
    let [a, b] = [&alpha, &beta].map(Backend::word);
    let served = Served::web(&format!("{a} {b}"));
    let text = |groups: &str| pool("web", groups, "") + &service("www", &[served.front], "web", "");
    let said = served.must("disable 1; maxc 0 7");
    let path = &served.file.path;
    assert!(said.starts_with("channel 1 disabled\nmaxc of channel 0 changed to 7\n"), "{said}");
    assert!(
        said.ends_with(&format!("a reload keeps this until {path} says something new about it, a restart does not\n")),
        "{said}"
    );
    served.must("create 127.0.0.1 9");
    served.reload(&text(&format!("{a}::3 {b}")));
    assert_eq!((served.channel(0)["limit"].as_u64(), served.channel(0)["weight"].as_u64()), (Some(7), Some(3)));
    assert_eq!((&served.channel(1)["state"], &served.channel(2)["name"]), (&"DIS".into(), &"127.0.0.1:9".into()));
    served.reload(&text(&format!("{a}:8:3 {b}")));
    assert_eq!(served.channel(0)["limit"].as_u64(), Some(8));
}

#[test]
fn a_dump_is_a_file_that_does_the_same_and_dumps_the_same() {
    let [alpha, beta] = ["alpha", "beta"].map(Backend::start);
    let [a, b] = [&alpha, &beta].map(Backend::word);
    let mut served = Served::web(&format!("{a} {b} ! {a} %"));
    served.must("disable 0; weight 1 5; maxc 1 0; hash; create 127.0.0.1 9; group 2; create 127.0.0.2 9; rr");
    let (dump, table) = (served.must("dump"), served.must("show"));
    let name = ask(served.front);
    for _ in 0..2 {
        served.lb.signal(Signal::TERM);
        assert!(served.lb.ended().0.success());
        fs::write(&served.file.path, &dump).unwrap();
        let checked = run(&mut bare_command(&["check", &served.file.path]));
        assert!(checked.status.success(), "{checked:?}");
        served.lb = served.file.run();
        served.lb.line_with("listening on");
        assert_eq!((served.must("dump"), served.must("show")), (dump.clone(), table.clone()));
        assert_eq!(served.must("dump loaded"), dump);
    }
    assert_eq!(ask(served.front), name, "a hash is the same after a start");
}

#[test]
fn what_only_a_start_can_change_is_said_to_be_so() {
    let alpha = Backend::start("alpha");
    let served = Served::web(&alpha.word());
    let text = fs::read_to_string(&served.file.path).unwrap();
    fs::write(&served.file.path, format!("process.workers = 3\nlog.format = \"json\"\n{text}")).unwrap();
    assert_eq!(
        served.must("reload"),
        "~ log: format human -> json (takes effect at the next start)\n\
         ~ process: workers unset -> 3 (takes effect at the next start)\n"
    );
    assert_eq!(ask(served.front), "alpha");
    // Traces begin at once.
    fs::write(&served.file.path, format!("process.workers = 3\nlog.format = \"json\"\nlog.trace = true\n{text}"))
        .unwrap();
    assert_eq!(served.must("reload"), "~ log: trace false -> true\n");
    ask(served.front);
    served.lb.line_with("accepted");
}

#[test]
fn systemd_is_told_of_a_reload_and_of_its_end() {
    let (alpha, notices, front) = (Backend::start("alpha"), Notices::new(), fresh_address());
    let file = File::new(&(pool("web", &alpha.word(), "") + &service("www", &[front], "web", "")));
    let mut command = command(&["run", "--config", &file.path]);
    let lb = Running::spawn(command.env("NOTIFY_SOCKET", &notices.path));
    assert_eq!(notices.next()[0], "READY=1");
    lb.signal(Signal::HUP);
    let reloading = notices.next();
    let micros = reloading[1].strip_prefix("MONOTONIC_USEC=").and_then(|word| word.parse::<u64>().ok());
    assert!(reloading[0] == "RELOADING=1" && micros.is_some_and(|micros| micros > 0), "{reloading:?}");
    assert_eq!(notices.next()[0], "READY=1");
}

#[test]
fn a_command_line_has_no_file_to_load_and_dumps_one() {
    let alpha = Backend::start("alpha");
    let (lb, control) = Control::start(&[], &[&alpha.word()]);
    for order in ["reload", "diff"] {
        let (status, said) = control.says(order);
        assert!(status == 69 && said.contains("started from a command line: there is no file to load"), "{said}");
    }
    assert_eq!(control.must("disable 0"), "channel 0 disabled\n", "and nothing else");
    let file = control.directory.join("lb.toml");
    fs::write(&file, control.must("dump")).unwrap();
    drop(lb);
    let lb = Running::start(&["run", "--config", &file]);
    lb.line_with("listening on");
    wait_for("the same", || control.status(0) == "DIS");
}
