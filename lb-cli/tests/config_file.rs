//! `lb check`, `lb run` and `lb schema`: a configuration file, and what becomes of it.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use rustix::process::Signal;
use support::{Backend, Daemon, File, Notices, Running, Session, ask, bare_command, fresh_address, run, wait_for};

/// Two services over one pool.
fn shared(pool: &str, one: SocketAddr, two: SocketAddr) -> String {
    format!(
        "[pools.web]\n{pool}\n[services.one]\nlisten = \"{one}\"\npool = \"web\"\n\
         [services.two]\nlisten = \"{two}\"\npool = \"web\"\n"
    )
}

fn check(path: &str) -> (Option<i32>, String, String) {
    let said = run(&mut bare_command(&["check", path]));
    (said.status.code(), String::from_utf8(said.stdout).unwrap(), String::from_utf8(said.stderr).unwrap())
}

fn is_free(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_ok()
}

#[test]
fn a_good_file_is_called_good_and_starts_nothing() {
    let front = fresh_address();
    // Neither name exists, and nobody is asked.
    let text = shared("groups = \"a.invalid:80 ! b.invalid:80\"", front, fresh_address());
    let file = File::new(&text);
    let (status, out, err) = check(&file.path);
    let line = format!("{}: good: 2 services, 1 pool, 2 backends\n", file.path);
    assert_eq!((status, out.as_str(), err.as_str()), (Some(0), line.as_str(), ""));
    assert!(is_free(front) && !fs::exists(file.directory.join("control")).unwrap());
}

#[test]
fn what_is_hardly_meant_is_a_warning_and_the_file_is_good_all_the_same() {
    let file = File::new(&shared("groups = \"a:80::0\"", fresh_address(), fresh_address()));
    let (status, out, err) = check(&file.path);
    assert_eq!(status, Some(0));
    assert!(out.ends_with("2 services, 1 pool, 1 backend; 1 warning\n"), "{out}");
    let begin =
        format!("{}:2:10: warning: group 0 of pool 'web' can never be reached: all of its weights are 0\n", file.path);
    assert!(
        err.starts_with(&begin) && err.ends_with("  2 | groups = \"a:80::0\"\n    |          ^^^^^^^^^\n"),
        "{err}"
    );
}

#[test]
fn all_mistakes_of_a_file_are_told_with_file_line_column_and_a_caret() {
    let file = File::new("[pools.web]\nselectr = \"hash\"\n[services.www]\nlisten = 80\npool = \"wbe\"\n");
    let (status, out, err) = check(&file.path);
    assert_eq!((status, out.as_str()), (Some(64), ""));
    let path = &file.path;
    let expected = format!(
        "{path}:2:1: unknown key 'selectr': did you mean 'selector'?\n  2 | selectr = \"hash\"\n    | ^^^^^^^\n\
         {path}:5:8: there is no pool 'wbe': did you mean 'web'?\n  5 | pool = \"wbe\"\n    |        ^^^^^\n\
         lb: {path}: 2 errors\n"
    );
    assert_eq!(err, expected);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let (status, _, err) = check("/no/such/file");
    assert!(status == Some(71) && err.contains("lb: /no/such/file: No such file"), "{err}");
    let file = File::new("");
    fs::write(&file.path, b"[log]\nformat = \"\xff\"\n").unwrap();
    let (status, _, err) = check(&file.path);
    assert!(status == Some(64) && err.contains("line 2 is no text: the file must be UTF-8"), "{err}");
    let (status, _, err) = check(file.directory.word());
    assert!(status == Some(71) && err.contains("Is a directory"), "{err}");
}

#[test]
fn services_that_share_a_pool_share_its_limits_turns_and_counts() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (one, two) = (fresh_address(), fresh_address());
    let pool = format!("groups = \"{}:1 ! {}\"", alpha.word(), beta.word());
    let file = File::new(&shared(&pool, one, two));
    let lb = file.run();
    lb.line_with(&format!("one: listening on {one}: 2 backends in 2 groups"));
    lb.line_with(&format!("two: listening on {two}: 2 backends in 2 groups"));
    let first = Session::open(one);
    let second = Session::open(two);
    assert_eq!((first.name.as_str(), second.name.as_str()), ("alpha", "beta"), "alpha's only place is taken");
    drop((first, second));
    wait_for("alpha's place", || ask(two) == "alpha");
    let [shown, same] = [one, two].map(|front| file.order(front, "show"));
    assert!(shown.status.success() && same.status.success());
    assert_eq!(shown.stdout, same.stdout, "one pool");
    lb.signal(Signal::TERM);
    assert_eq!(lb.ended().0.code(), Some(0));
    assert!(is_free(one) && is_free(two));
}

#[test]
fn an_order_to_one_service_is_one_to_its_pool_and_kill_stops_all() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (one, two, other) = (fresh_address(), fresh_address(), fresh_address());
    let pool = format!("groups = \"{} {}\"", alpha.word(), beta.word());
    let more =
        format!("[pools.own]\ngroups = \"{}\"\n[services.own]\nlisten = \"{other}\"\npool = \"own\"\n", alpha.word());
    let file = File::new(&(shared(&pool, one, two) + &more));
    let lb = file.run();
    lb.line_with("two: listening on");
    assert!(file.order(one, "disable 0").status.success());
    lb.line_with("web: ");
    for _ in 0..4 {
        assert_eq!((ask(one), ask(two)), ("beta".to_owned(), "beta".to_owned()));
    }
    assert_eq!(ask(other), "alpha", "another pool, whose backend has the same name");
    assert!(file.order(two, "kill").status.success());
    assert!(is_free(two), "who has killed it may start the next");
    assert_eq!(lb.ended().0.code(), Some(0));
    assert!(is_free(one) && is_free(other));
}

#[test]
fn each_service_has_settings_of_its_own_and_inherits_the_others() {
    let alpha = Backend::start("alpha");
    let (one, two) = (fresh_address(), fresh_address());
    let text = shared(&format!("groups = \"{}\"", alpha.word()), one, two);
    let text = text.replace("[services.two]", "idle_timeout = \"never\"\n[services.two]");
    let file = File::new(&(text + "[defaults]\nidle_timeout = \"1s\"\nsource = \"127.0.0.9\"\n"));
    let lb = file.run();
    lb.line_with("two: listening on");
    let (mut patient, mut hasty) = (Session::open(one), Session::open(two));
    assert_eq!((patient.seen_as.as_str(), hasty.seen_as.as_str()), ("127.0.0.9", "127.0.0.9"));
    assert!(hasty.sees_the_end());
    assert!(patient.echoes());
}

#[test]
fn one_service_may_listen_at_several_places_and_backends_take_its_port() {
    let ip = support::fresh_ip();
    let alpha = Backend::at("alpha", SocketAddr::from((ip, support::PORT)));
    let (one, two) = (fresh_address(), fresh_address());
    let file = File::new(&format!(
        "[pools.web]\ngroups = \"{ip}\"\n[services.www]\nlisten = [\"{one}\", \"{two}\"]\npool = \"web\"\n[process]\nworkers = 3\n"
    ));
    let lb = file.run();
    lb.line_with(&format!("www: listening on {one}"));
    lb.line_with(&format!("www: listening on {two}"));
    assert_eq!((ask(one), ask(two)), ("alpha".to_owned(), "alpha".to_owned()));
    drop((lb, alpha));
}

#[test]
fn checks_of_a_pool_are_made_and_logged_as_its_own() {
    let alpha = Backend::start("alpha");
    let (one, two) = (fresh_address(), fresh_address());
    let pool =
        format!("groups = \"{}\"\nprobes = {{ checks = [{{ connect = true }}], interval = \"50ms\" }}", alpha.word());
    let file = File::new(&(shared(&pool, one, two) + "[log]\nformat = \"json\"\n"));
    let lb = file.run();
    let up = lb.line_with("backend-up");
    assert!(up.contains("\"pool\":\"web\"") && up.contains(&alpha.word()), "{up}");
    drop(alpha);
    lb.line_with("backend-down");
}

#[test]
fn commands_of_checks_get_nothing_that_lb_was_left_by_who_started_it() {
    let alpha = Backend::start("alpha");
    let check = "checks = [{ command = \"test ! -e /proc/$$/fd/7\", timeout = \"10s\" }], interval = \"50ms\"";
    let pool = format!("groups = \"{}\"\nprobes = {{ {check} }}", alpha.word());
    let file = File::new(&shared(&pool, fresh_address(), fresh_address()));
    let mut command = std::process::Command::new("sh");
    command.args([
        "-c",
        "exec 7</dev/null; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_lb"),
        "run",
        "--config",
        &file.path,
    ]);
    let lb = Running::spawn(&mut command);
    let found = lb.line_with(&format!("web: {} is ", alpha.word()));
    assert!(found.contains(" is up"), "{found}");
}

#[test]
fn a_bad_file_starts_nothing_in_the_foreground_and_in_the_background() {
    let alpha = Backend::start("alpha");
    let (one, two) = (fresh_address(), fresh_address());
    let text = shared(&format!("groups = \"{}\"", alpha.word()), one, two);
    let file = File::new(&text.replace("pool = \"web\"\n[services.two]", "pool = \"wbe\"\n[services.two]"));
    for options in [&["run", "--config"][..], &["run", "--daemon", "--config"]] {
        let said = run(bare_command(options).arg(&file.path));
        let err = String::from_utf8(said.stderr).unwrap();
        assert_eq!((said.status.code(), said.stdout.len()), (Some(64), 0), "{err}");
        assert!(err.starts_with(&format!("{}:5:8: there is no pool 'wbe': did you mean 'web'?\n", file.path)), "{err}");
        assert!(err.ends_with(&format!("lb: {}: 1 error\n", file.path)), "{err}");
        assert!(TcpStream::connect(one).is_err() && TcpStream::connect(two).is_err());
        assert!(!fs::exists(file.directory.join("control")).unwrap());
    }
    let (daemon, said) = Daemon::of_file(&file.path, one);
    assert!(said.status.code() == Some(64) && !daemon.is_there());
}

#[test]
fn in_the_background_all_services_are_there_when_it_has_ended_with_0() {
    let alpha = Backend::start("alpha");
    let (one, two) = (fresh_address(), fresh_address());
    let file = File::new(&shared(&format!("groups = \"{}\"", alpha.word()), one, two));
    let (daemon, said) = Daemon::of_file(&file.path, one);
    assert_eq!(said.status.code(), Some(0), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!((ask(one), ask(two)), ("alpha".to_owned(), "alpha".to_owned()));
    assert!(file.order(two, "show").status.success());
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().exit_status(), Some(0));
}

#[test]
fn what_the_system_refuses_names_the_service_and_nothing_is_served() {
    let (one, two) = (fresh_address(), fresh_address());
    let taken = TcpListener::bind(two).unwrap();
    let file = File::new(&shared("groups = \"127.0.0.1:1\"", one, two));
    for options in [&["run", "--config"][..], &["run", "--daemon", "--config"]] {
        let said = run(bare_command(options).arg(&file.path));
        let err = String::from_utf8(said.stderr).unwrap();
        assert_eq!(said.status.code(), Some(71), "{err}");
        assert!(err.contains(&format!("service 'two': cannot listen on {two}: ")), "{err}");
        assert!(is_free(one));
    }
    drop(taken);
    let file = File::new(&shared("groups = \"127.0.0.1:1\"", one, two));
    fs::write(file.directory.join("control"), "").unwrap();
    let said = run(&mut bare_command(&["run", "--config", &file.path]));
    let err = String::from_utf8(said.stderr).unwrap();
    let remedy = "it is no directory; control.directory names another directory for it\n";
    assert!(said.status.code() == Some(71) && err.contains("service 'one': ") && err.ends_with(remedy), "{err}");
    let unknown = File::new(&shared("groups = \"nowhere.invalid:1\"", one, two));
    let said = run(&mut bare_command(&["run", "--config", &unknown.path]));
    assert_eq!(said.status.code(), Some(65));
    let silent = File::new(&(shared("groups = \"127.0.0.1:1\"", one, two) + "[log]\nto = \"stderr\"\n"));
    let said = run(&mut bare_command(&["run", "--daemon", "--config", &silent.path]));
    assert_eq!(said.status.code(), Some(64));
    let dumping = File::new(&(shared("groups = \"127.0.0.1:1\"", one, two) + "[log]\ndump = true\n"));
    let said = run(&mut bare_command(&["run", "--daemon", "--config", &dumping.path]));
    let err = String::from_utf8(said.stderr).unwrap();
    assert!(
        said.status.code() == Some(64) && err.contains("log.dump = true and --daemon: there is no stdout"),
        "{err}"
    );
    let nothing = File::new("[pools.web]\ngroups = \"127.0.0.1:1\"\n");
    assert_eq!(run(&mut bare_command(&["run", "--config", &nothing.path])).status.code(), Some(64));
}

#[test]
fn sessions_end_in_peace_when_all_services_stop() {
    let alpha = Backend::start("alpha");
    let (one, two) = (fresh_address(), fresh_address());
    let file = File::new(&shared(&format!("groups = \"{}\"", alpha.word()), one, two));
    let lb = file.run();
    lb.line_with("two: listening on");
    let mut sessions = [one, two].map(Session::open);
    lb.signal(Signal::TERM);
    lb.line_with("stopping: sessions may go on for 30s");
    for front in [one, two] {
        wait_for("a closed port", || TcpStream::connect_timeout(&front, Duration::from_secs(1)).is_err());
    }
    assert!(sessions.iter_mut().all(Session::echoes));
    drop(sessions);
    assert_eq!(lb.ended().0.code(), Some(0));
}

#[test]
fn the_schema_knows_the_keys_and_help_is_there() {
    let said = run(&mut bare_command(&["schema"]));
    let schema: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let service = &schema["properties"]["services"]["additionalProperties"]["properties"];
    assert!(service["listen"].is_object() && service["connect_timeout"]["description"].is_string());
    for (command, part) in [("run", "--daemon"), ("check", "Usage: lb check [FILE]"), ("schema", "JSON schema")] {
        let said = run(&mut bare_command(&[command, "--help"]));
        assert!(said.status.success() && String::from_utf8_lossy(&said.stdout).contains(part), "{command}");
        let late = run(&mut bare_command(&["-f", command]));
        assert!(String::from_utf8_lossy(&late.stderr).contains(&format!("'{command}' goes first")));
    }
}

#[test]
fn a_group_without_backends_counts_as_one() {
    let (notices, front) = (Notices::new(), fresh_address());
    let service = format!("[services.www]\nlisten = \"{front}\"\npool = \"web\"\n");
    for (first, size) in [("\"127.0.0.1:1\"", "1 backend in 2 groups"), ("", "0 backends in 2 groups")] {
        let group = |backends| format!("[[pools.web.groups]]\nbackends = [{backends}]\n");
        let file = File::new(&(group(first) + &group("") + &service));
        let mut command = bare_command(&["run", "--config", &file.path]);
        let lb = Running::spawn(command.env("NOTIFY_SOCKET", &notices.path));
        lb.line_with(&format!("www: listening on {front}: {size}"));
        assert_eq!(notices.next()[1], format!("STATUS=listening on {front}: {size}"));
        lb.signal(Signal::TERM);
        assert_eq!(notices.next()[0], "STOPPING=1");
        assert_eq!(lb.ended().0.code(), Some(0));
    }
}
