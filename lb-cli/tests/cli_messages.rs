//! What `lb` says of what it does not understand or cannot do: one line, the word as typed, the remedy, the status.

mod support;

use std::process::{Command, Output};

use support::{Backend, Directory, PORT, Running, bare_command, command, fresh_address, fresh_ip, run};

/// The one line behind `lb: `, after a look at everything else.
fn refused(said: &Output, status: i32) -> String {
    let line = String::from_utf8(said.stderr.clone()).expect("text");
    assert_eq!((said.status.code(), said.stdout.len()), (Some(status), 0), "{line}");
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    line.strip_prefix("lb: ").and_then(|line| line.strip_suffix('\n')).expect("a line of lb").to_owned()
}

fn says(args: &[&str], status: i32, line: &str) {
    assert_eq!(refused(&run(&mut command(args)), status), line, "{args:?}");
}

#[test]
fn an_unknown_option_is_named_with_the_nearest_one() {
    says(&["-z", "9000", "a"], 64, "unknown option '-z'; see lb --help");
    says(&["-fz", "9000", "a"], 64, "unknown option '-z'; see lb --help");
    says(&["--nothing-like-it", "9000"], 64, "unknown option '--nothing-like-it'; see lb --help");
    says(&["9000", "a", "--selct", "x"], 64, "unknown option '--selct', did you mean '--select'?; see lb --help");
    says(&["--x\ny\x1b[m", "9000"], 64, r"unknown option '--x\ny\u{1b}[m'; see lb --help");
}

#[test]
fn a_wrong_value_is_named_with_its_option() {
    let seconds = |option: &str, value: &str, why: &str| {
        says(&[option, value, "9000", "a"], 64, &format!("{option} '{value}': {why}; see lb --help"));
    };
    for value in ["abc", "0", "-1", "", "inf", "nan", "1s", "1\t2"] {
        let typed = value.replace('\t', r"\t");
        let line = format!("-t '{typed}': not a number of seconds above 0, up to 3153600000; see lb --help");
        says(&["-t", value, "9000", "a"], 64, &line);
    }
    seconds("-T", "-1", "not a number of seconds from 0 to 3153600000");
    seconds("-T", "x", "not a number of seconds from 0 to 3153600000");
    seconds("--grace", "-0.5", "not a number of seconds from 0 to 3153600000");
    for value in ["x", "0", "-5", "1.5"] {
        seconds("--race", value, "not a number of milliseconds from 1 to 4294967295, and not 'off'");
    }
    for value in ["0", "-1", "1025", "many"] {
        seconds("--workers", value, "not a number from 1 to 1024");
    }
    seconds(
        "--select",
        "fastest",
        "unknown selector 'fastest': one of round-robin, least-loaded, peak-ewma, random, hash, bucket-fill",
    );
}

#[test]
fn a_missing_value_is_asked_for() {
    says(&["9000", "a", "-t"], 64, "-t needs a value: -t <SECONDS>; see lb --help");
    says(&["-b"], 64, "-b needs a value: -b <ADDRESS>; see lb --help");
    says(&["9000", "--workers"], 64, "--workers needs a value: --workers <N>; see lb --help");
    says(&["--race"], 64, "--race needs a value: --race <MS|off>; see lb --help");
}

#[test]
fn a_wrong_port_is_named() {
    for port in ["0", "70000", "no-such-service", "", "80x"] {
        let remedy = "first comes the port to listen on: lb [options] PORT backend...";
        let why = "it is neither a number from 1 to 65535 nor a TCP service";
        says(&[port, "127.0.0.1"], 64, &format!("unknown port '{port}': {why}; {remedy}"));
    }
    says(&[], 64, "no port to listen on: lb [options] PORT backend...; see lb --help");
    says(&["-f"], 64, "no port to listen on: lb [options] PORT backend...; see lb --help");
}

#[test]
fn an_empty_group_is_named_by_its_number_and_separator() {
    let empty = |words: &[&str], line: &str| says(&[&["9000"], words].concat(), 69, line);
    empty(&["!", "a"], "group 0 is empty: name a backend before '!'");
    empty(&["%", "a"], "group 0 is empty: name a backend before '%'");
    empty(&["a", "!", "!", "b"], "group 1 is empty: name a backend before '!'");
    empty(&["a", "%", "%", "b"], "group 1 is empty: name a backend before '%'");
    empty(&["a", "!", "b", "!", "!"], "group 2 is empty: name a backend before '!'");
}

#[test]
fn a_wrong_backend_is_named_as_typed() {
    let wrong = |word: &str, line: &str| says(&["9000", word], 65, &format!("{word}: {line}"));
    wrong("a:0", "port '0' is neither a number from 1 to 65535 nor the name of a service");
    wrong("a:70000", "port '70000' is neither a number from 1 to 65535 nor the name of a service");
    wrong("a:80:x", "limit 'x' is not a number from 0 to 4294967295");
    wrong("a:80:-1", "limit '-1' is not a number from 0 to 4294967295");
    wrong("a:80:1:70000", "weight '70000' is not a number from 0 to 65535");
    wrong("a:80:1:1:9", "'9' is one part too many: a backend is host[:port[:max[:weight]]]");
    wrong("[::1", "no host in it: a backend is host[:port[:max[:weight]]], an IPv6 address goes in brackets");
    wrong("::1", "no host in it: a backend is host[:port[:max[:weight]]], an IPv6 address goes in brackets");
}

#[test]
fn an_ipv6_address_without_brackets_gets_them_as_the_remedy() {
    for word in ["2001:db8::1", "2001:db8:1:2:3:4:5:6", "fe80::1"] {
        let line = refused(&run(&mut command(&["9000", word])), 65);
        assert!(line.ends_with(&format!("; an IPv6 address goes in brackets: [{word}]")), "{line}");
    }
}

#[test]
fn an_unknown_host_is_named_with_what_it_was_for() {
    let host = |args: &[&str], status, begin: &str| {
        let line = refused(&run(&mut command(args)), status);
        assert!(line.starts_with(&format!("{begin}: unknown host 'nowhere.invalid': ")), "{line}");
    };
    host(&["9000", "127.0.0.1:1", "nowhere.invalid:80"], 65, "nowhere.invalid:80");
    host(&["9000", "127.0.0.1:1", "--", "nowhere.invalid"], 65, "nowhere.invalid");
    host(&["-b", "nowhere.invalid", "9000"], 71, "-b");
    host(&["-B", "nowhere.invalid", "9000"], 71, "-B");
    says(&["-6", "-b", "127.0.0.1", "9000"], 71, "-b: '127.0.0.1' has no IPv6 address");
    let option = refused(&run(&mut command(&["9000", "--", "-f"])), 65);
    assert!(option.starts_with("-f: unknown host '-f': "), "words behind -- are no options: {option}");
}

#[test]
fn an_address_of_another_machine_is_refused() {
    // 192.0.2.0/24 is for documentation (RFC 5737).
    let line = refused(&run(&mut command(&["-b", "192.0.2.1", "9000"])), 71);
    assert!(line.starts_with("cannot listen on 192.0.2.1:9000: "), "{line}");
    assert!(line.ends_with("; it is no address of this machine"), "{line}");
}

#[test]
fn a_second_instance_does_not_start() {
    let alpha = Backend::start("alpha");
    let elsewhere = Directory::new();
    let directory = &elsewhere.join("control");
    for (first, second) in [("1", "1"), ("1", "4"), ("4", "1"), ("4", "4")] {
        let (_lb, front) = Running::balancing(&["--workers", first], &[&alpha.word()]);
        let (ip, port) = (front.ip().to_string(), PORT.to_string());
        let line = refused(&run(&mut command(&["--workers", second, "-b", &ip, &port])), 71);
        assert!(line.starts_with(&format!("another lb serves port {port} on {ip} (pid ")), "{line}");
        // With a control socket elsewhere it gets as far as the port.
        let line =
            refused(&run(&mut command(&["--workers", second, "--control-dir", directory, "-b", &ip, &port])), 71);
        assert!(line.starts_with(&format!("cannot listen on {front}: ")), "{line}");
        assert!(line.ends_with("; another lb, or another program, listens there"), "{line}");
        assert_eq!(support::ask_times(4, front), ["alpha"; 4]);
    }
    std::fs::remove_dir(directory).expect("it is empty");
}

#[test]
fn a_port_below_1024_without_the_right_to_it_names_both_remedies() {
    let ip = fresh_ip().to_string();
    let args = ["-b", &ip, "81"];
    let mut as_we_are = command(&args);
    // The right may come from root, a capability, or a system where such ports are free for all.
    let mut as_nobody = Command::new("setpriv");
    as_nobody.args(["--reuid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]);
    // Where nobody can read: not behind a home directory that is closed.
    let directory = Directory::new();
    let copy = directory.join("lb");
    // By another process: what another test starts meanwhile would have our file open for writing for a moment, and such
    // a file cannot be run.
    assert!(Command::new("cp").args([env!("CARGO_BIN_EXE_lb"), &copy]).status().expect("cp").success());
    as_nobody.arg(&copy).args(args);
    let floor = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    let root = rustix::process::geteuid().is_root();
    let setpriv = Command::new("setpriv").arg("--version").output().is_ok();
    if floor.trim() != "1024" || (root && !setpriv) {
        return println!("skipped: everybody may have port 81 here, or there is no setpriv");
    }
    let said = run(if root { &mut as_nobody } else { &mut as_we_are });
    let line = refused(&said, 71);
    assert!(line.starts_with(&format!("cannot listen on {ip}:81: ")), "{line}");
    assert!(line.contains("; start lb as root, or give it the right to ports below 1024: setcap "), "{line}");
}

#[test]
fn a_demo_has_its_own_options() {
    says(&["-f", "demo"], 64, "'demo' goes first: lb demo [options]; see lb demo --help");
    says(&["demo", "extra"], 64, "'extra' is one word too many; see lb demo --help");
    says(&["demo", "--prot", "1"], 64, "unknown option '--prot', did you mean '--port'?; see lb demo --help");
    says(&["demo", "--port"], 64, "--port needs a value: --port <PORT>; see lb demo --help");
    for port in ["70000", "-1", "http"] {
        let why = "not a port from 1 to 65535, nor 0 for any free one";
        says(&["demo", "--port", port], 64, &format!("--port '{port}': {why}; see lb demo --help"));
    }
    says(
        &["demo", "--seconds", "0"],
        64,
        "--seconds '0': not a number of seconds above 0, up to 3153600000; see lb demo --help",
    );
}

#[test]
fn who_calls_run_as_one_calls_lb_is_told_its_way() {
    let see = "see lb run --help";
    says(&["run", "-f"], 64, &format!("unknown option '-f'; lb run stays in the foreground without --daemon; {see}"));
    says(&["run", "lb.toml"], 64, &format!("'lb.toml' is one word too many; --config names the file; {see}"));
    says(&["run", "-b", "::1"], 64, &format!("unknown option '-b'; {see}"));
    says(&["demo", "-f"], 64, "unknown option '-f'; see lb demo --help");
}

#[test]
fn help_tells_what_a_second_signal_ends_with() {
    for (args, part) in [
        (
            &["--help"][..],
            "Exit status: 0 stopped as asked, or serving in the background, 1 stopped at once by a second signal",
        ),
        (&["run", "--help"], "1 stopped at once by a second signal"),
        (&["--generate", "man"], "stopped at once by a second signal; or lb diff has found a difference"),
    ] {
        // Wherever its lines are broken.
        let text = String::from_utf8(run(&mut bare_command(args)).stdout).expect("text");
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(words.join(" ").contains(part), "{args:?}: {text}");
    }
}

#[test]
fn help_and_version_are_on_stdout_and_no_failure() {
    for (args, part) in [
        (&["--help"][..], "lb 80 alpha::256 ! beta::64 ! spare"),
        (&["-h"], "Usage: lb [options] PORT backend... [!|%]"),
        (&["9000", "a", "--help"], "Exit status: 0 stopped as asked"),
        (&["--version"], concat!("lb ", env!("CARGO_PKG_VERSION"), "\n")),
        (&["-V"], concat!("lb ", env!("CARGO_PKG_VERSION"), "\n")),
        (&["demo", "-h"], "Usage: lb demo [options]"),
    ] {
        let said = run(&mut command(args));
        assert_eq!((said.status.code(), said.stderr.len()), (Some(0), 0), "{args:?}");
        let text = String::from_utf8(said.stdout).expect("text");
        assert!(text.contains(part), "{args:?}: {text}");
    }
}

#[test]
fn the_first_line_says_where_it_listens_and_over_what() {
    for (words, over) in [
        (&["127.0.0.1:1"][..], "1 backend in 1 group"),
        (&["127.0.0.1:1", "127.0.0.1:2", "!", "127.0.0.1:3"], "3 backends in 2 groups"),
        (&[], "0 backends in 0 groups"),
    ] {
        let front = fresh_address();
        let (ip, port) = (front.ip().to_string(), PORT.to_string());
        let args = [&["-b", &ip, &port][..], words].concat();
        let line = Running::start(&args).line_with("");
        assert_eq!(line, format!("lb: listening on {front}: {over}"));
    }
}
