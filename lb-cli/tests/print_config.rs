//! What `--print-config` prints is served by `lb run` as the command line itself is.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests call it")]

mod support;

use std::{
    fmt::Debug,
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
};

use rustix::process::Signal;
use support::{
    Backend, Control, Directory, PATIENCE, PORT, Running, Session, Silent, ask, ask_from, ask_times, bare_command,
    fresh_address, fresh_ip, fresh_port, has_ipv6, run, wait_for,
};

/// Who serves, where, and who controls it.
struct Served {
    lb: Running,
    control: Control,
}

impl Served {
    fn front(&self) -> SocketAddr {
        self.control.front
    }

    /// A command line, as itself.
    fn by_words(options: &[&str], words: &[&str]) -> Self {
        let (lb, control) = Control::start(options, words);
        Self { lb, control }
    }

    /// The same from its file, in which the places are others.
    fn by_file(options: &[&str], words: &[&str]) -> Self {
        let (place, control) = (fresh_address(), Control { front: fresh_address(), directory: Directory::new() });
        let (ip, port) = (place.ip().to_string(), place.port().to_string());
        let own = ["-f", "--print-config", "--control-dir", "/elsewhere", "-b", &ip, &port];
        let text = printed(&[options, &own, words].concat());
        let moved = |text: &str, from: &str, to: &str| {
            assert_eq!(text.matches(from).count(), 1, "{from} in {text}");
            text.replace(from, to)
        };
        let text = moved(&text, &format!("listen = [\"{place}\"]"), &format!("listen = [\"{}\"]", control.front));
        let text = moved(&text, "directory = \"/elsewhere\"", &format!("directory = \"{}\"", control.path()));
        let file = file(&control.directory, &text);
        Self { lb: Running::lb(&["run", "--config", &file]), control }
    }
}

fn printed(words: &[&str]) -> String {
    let said = run(&mut bare_command(words));
    assert_eq!(said.status.code(), Some(0), "{words:?}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

/// Where such a file is, which `lb check` calls good.
fn file(directory: &Directory, text: &str) -> String {
    let path = directory.join("lb.toml");
    fs::write(&path, text).unwrap();
    let said = run(&mut bare_command(&["check", &path]));
    let line = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success() && line.starts_with(&format!("{path}: good: 1 service, 1 pool, ")), "{line}\n{text}");
    path
}

/// What is seen of a command line, and that it is the same of its file.
fn same<T: PartialEq + Debug>(options: &[&str], words: &[&str], look: impl Fn(&Served) -> T) -> T {
    let seen = look(&Served::by_words(options, words));
    assert_eq!(look(&Served::by_file(options, words)), seen, "{options:?} {words:?}");
    seen
}

fn words<const N: usize>(backends: &[Backend; N]) -> [String; N] {
    backends.each_ref().map(Backend::word)
}

#[test]
fn turns_begin_at_the_first_backend_and_follow_weights() {
    let all = ["alpha", "beta", "gamma"].map(Backend::start);
    let [alpha, beta, gamma] = words(&all);
    let seen = same(&[], &[&alpha, &beta, &gamma], |served| ask_times(6, served.front()));
    assert_eq!(seen, ["alpha", "beta", "gamma", "alpha", "beta", "gamma"]);
    let seen = same(&["--workers", "1"], &[&format!("{alpha}::3"), &beta], |served| ask_times(8, served.front()));
    assert_eq!(seen.iter().filter(|name| *name == "alpha").count(), 6, "{seen:?}");
    let seen = same(&["--select", "bucket-fill"], &[&alpha, &beta], |served| ask_times(3, served.front()));
    assert_eq!(seen, ["alpha"; 3]);
}

#[test]
fn limits_hold_and_the_next_group_takes_over() {
    let all = ["alpha", "beta", "gamma"].map(Backend::start);
    let (dead, [alpha, beta, gamma]) = (fresh_address().to_string(), words(&all));
    let words = [&dead, "!", &format!("{alpha}:1"), &format!("{beta}:1"), "!", &gamma];
    let seen = same(&[], &words, |served| {
        let held = [(); 4].map(|()| Session::open(served.front()));
        held.map(|session| session.name)
    });
    assert_eq!(seen, ["alpha", "beta", "gamma", "gamma"]);
}

#[test]
fn a_client_has_the_same_backend_and_the_same_one_instead_of_it() {
    let all = ["alpha", "beta", "gamma"].map(Backend::start);
    let (spare, dead) = (Backend::start("spare"), fresh_address().to_string());
    let ([alpha, beta, gamma], spare) = (words(&all), spare.word());
    let clients = [(); 12].map(|()| fresh_ip());
    let words = [&alpha, &beta, &gamma, &dead, "%", &spare];
    for options in [&[][..], &["-H"]] {
        let seen = same(options, &words, |served| clients.map(|client| ask_from(client, served.front())));
        assert!(options.is_empty() || seen.iter().all(|name| name.as_deref() != Some("spare")), "{seen:?}");
    }
}

#[test]
fn backends_without_a_port_have_that_of_the_service() {
    let ip = fresh_ip();
    let _alpha = Backend::at("alpha", SocketAddr::from((ip, PORT)));
    assert_eq!(same(&[], &[&ip.to_string()], |served| ask(served.front())), "alpha");
}

#[test]
fn one_failed_connect_takes_a_backend_out_for_good_or_for_a_while() {
    let (alpha, dead) = (Backend::start("alpha"), fresh_address());
    let words = [dead.to_string(), alpha.word()];
    let words = words.each_ref().map(String::as_str);
    let tried = same(&["-a", "--race", "off"], &words, |served| {
        assert_eq!(ask_times(4, served.front()), ["alpha"; 4]);
        (served.control.status(0), served.control.rows()[0].total)
    });
    assert_eq!(tried, ("dis".to_owned(), 1));
    same(&["--autodisable-for", "0.2"], &words, |served| {
        assert_eq!(ask(served.front()), "alpha");
        served.lb.line_with("ejected");
        let _back = Backend::at("back", dead);
        wait_for("its return", || ask(served.front()) == "back");
    });
}

#[test]
fn backends_are_up_before_the_first_check_and_what_checks_find_is_followed() {
    let (alpha, dead) = (Backend::start("alpha"), fresh_address());
    let words = [dead.to_string(), alpha.word()];
    let words = words.each_ref().map(String::as_str);
    same(&["-m", "connect:timeout=1:interval=0.1"], &words, |served| {
        served.lb.line_with("is down");
        assert_eq!(ask_times(4, served.front()), ["alpha"; 4]);
        let _back = Backend::at("back", dead);
        served.lb.line_with("is up");
        assert!(ask_times(2, served.front()).contains(&"back".to_owned()));
    });
    // The first check has failed, or not even that, and none of them is down yet.
    let seen = same(&["-m", r"command=test %P = 1\::interval=600:fall=2"], &words, |served| {
        assert_eq!(ask(served.front()), "alpha");
        [0, 1].map(|number| served.control.status(number))
    });
    assert_eq!(seen, ["ENA", "ENA"]);
}

#[test]
fn sessions_time_out_come_from_where_they_are_to_and_are_cut_at_the_end() {
    let alpha = Backend::start("alpha");
    let seen = same(&["-T", "0.1", "-B", "127.0.0.9"], &[&alpha.word()], |served| {
        let mut session = Session::open(served.front());
        assert!(session.sees_the_end());
        served.lb.line_with("timed out after 0.1 seconds");
        session.seen_as
    });
    assert_eq!(seen, "127.0.0.9");
    for (options, line) in [(&["--grace", "0"][..], "1 session was cut"), (&[], "sessions may go on for 30s")] {
        same(options, &[&alpha.word()], |served| {
            let session = Session::open(served.front());
            served.lb.signal(Signal::TERM);
            served.lb.line_with(line);
            drop(session);
        });
    }
}

#[test]
fn a_silent_backend_is_given_up_or_joined_by_the_next_one() {
    let (silent, alpha) = (Silent::start(), Backend::start("alpha"));
    let words = [silent.address.to_string(), alpha.word()];
    let words = words.each_ref().map(String::as_str);
    same(&["-t", "0.2", "--race", "off"], &words, |served| {
        assert_eq!(ask(served.front()), "alpha");
        served.lb.line_with(&format!("{}: cannot connect", silent.address));
    });
    // Long before the silent one is given up.
    let seen = same(&["-t", "600", "--race", "20"], &words, |served| ask(served.front()));
    assert_eq!(seen, "alpha");
}

#[test]
fn the_proxy_protocol_is_spoken_and_believed() {
    let listener = TcpListener::bind(fresh_address()).unwrap();
    let backend = listener.local_addr().unwrap().to_string();
    let options = ["--accept-proxy", "127.0.0.1", "--send-proxy", "v1"];
    let seen = same(&options, &[&backend], |served| {
        let mut client = TcpStream::connect(served.front()).unwrap();
        client.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\n").unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut header = [0; 40];
        stream.read_exact(&mut header).unwrap();
        String::from_utf8(header.to_vec()).unwrap()
    });
    assert_eq!(seen, "PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\n");
}

#[test]
fn groups_and_backends_that_are_made_later_are_the_same() {
    let all = ["alpha", "beta"].map(Backend::start);
    let [alpha, beta] = words(&all);
    for options in [&[][..], &["-H"], &["--select", "hash"], &["-H", "--select", "least-loaded"]] {
        let seen = same(options, &[&alpha, &beta, "%"], |served| {
            // But for how long an order lasts: only a file can be loaded again.
            let lasting = |line: &&str| !line.starts_with("a reload keeps this");
            let must =
                |order: &str| served.control.must(order).split('\n').filter(lasting).collect::<Vec<_>>().join("\n");
            let orders = ["create 127.0.0.1 9", "group 1; create 127.0.0.2 9; create 127.0.0.3 9; enable 1; hash"];
            (orders.map(must), must("show"), must("group 0; rr; show"))
        });
        assert!(seen.1.lines().count() == 6, "{}", seen.1);
    }
}

#[test]
fn the_log_the_workers_and_the_user_are_the_same() {
    let alpha = Backend::start("alpha");
    let workers = |lb: &Running| {
        let threads = fs::read_dir(format!("/proc/{}/task", lb.id())).unwrap();
        let names = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")).unwrap());
        names.filter(|name| name.starts_with("lb-worker")).count()
    };
    let seen = same(&["-d", "--log-format", "json", "--workers", "3"], &[&alpha.word()], |served| {
        assert_eq!(ask(served.front()), "alpha");
        served.lb.line_with("\"event\":\"connected\"");
        workers(&served.lb)
    });
    assert_eq!(seen, 3);
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root can become somebody else");
    }
    let seen = same(&["--user", "4321:8765"], &[&alpha.word()], |served| {
        let status = fs::read_to_string(format!("/proc/{}/status", served.lb.id())).unwrap();
        status.lines().find(|line| line.starts_with("Uid:")).map(str::to_owned)
    });
    assert_eq!(seen.as_deref(), Some("Uid:\t4321\t4321\t4321\t4321"));
}

#[test]
fn it_listens_on_the_same_addresses() {
    let alpha = Backend::start("alpha");
    let clients: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let lines: [&[&str]; 3] = [&[], &["-6"], &["-b", "localhost"]];
    for options in &lines[..if has_ipv6() { 3 } else { 1 }] {
        let seen = [false, true].map(|from_file| {
            let (port, directory, alpha) = (fresh_port().to_string(), Directory::new(), alpha.word());
            let control = directory.join("control");
            let words = [options, &["--control-dir", &control, &port, &alpha][..]].concat();
            let file = from_file.then(|| file(&directory, &printed(&[&["--print-config"], &words[..]].concat())));
            let lb = match &file {
                Some(file) => Running::start(&["run", "--config", file]),
                None => Running::start(&words),
            };
            let line = lb.line_with("listening on ");
            let place = line.split("listening on ").nth(1).unwrap().replace(&port, "PORT");
            let serves = |ip| TcpStream::connect((ip, port.parse().unwrap())).ok().and_then(Session::over).is_some();
            (place, clients.map(serves))
        });
        assert_eq!(seen[0], seen[1], "{options:?}");
        assert!(seen[0].1.contains(&true), "{options:?}: {seen:?}");
    }
}
