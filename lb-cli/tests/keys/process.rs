//! Keys of the log, of control and of the process.

use std::{fs, os::unix::net::UnixDatagram};

use serde_json::Value;

use crate::{
    Tested,
    place::{Lb, Place},
    support::{Daemon, Directory, File, PATIENCE, ask, run, wait_for},
};

pub(crate) const TESTED: &[Tested] = &[
    ("log.to", events_go_to_stderr_or_to_the_systems_log),
    ("log.format", events_are_lines_or_objects),
    ("log.trace", decisions_are_told),
    ("control.directory", control_is_where_it_was_asked_for),
    ("process.user", all_threads_become_the_user),
    ("process.workers", there_are_so_many_workers),
    ("process.resolve_every", names_are_asked_for_again),
];

/// A pool of these backends and a service.
fn text(top: &str, place: &Place, backends: &str) -> (std::net::SocketAddr, String) {
    let front = place.address();
    let service = format!("[services.www]\nlisten = \"{front}\"\npool = \"web\"\n");
    (front, format!("{top}\n[pools.web]\ngroups = \"{backends}\"\n{service}"))
}

#[test]
fn events_go_to_stderr_or_to_the_systems_log() {
    let (place, directory) = (Place::new(), Directory::new());
    let path = directory.join("log");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let (front, syslog) = text("log.to = \"syslog\"", &place, "127.0.0.1:1");
    let file = File::new(&syslog);
    let prepare = "mount -t tmpfs none /dev && ln -s \"$0\" /dev/log";
    let Some(lb) = file.run_in_its_own_file_system(prepare, &path) else { return };
    let mut line = [0; 512];
    let length = socket.recv(&mut line).unwrap();
    let line = String::from_utf8_lossy(&line[..length]).into_owned();
    assert!(line.starts_with("<29>lb[") && line.contains(&format!("listening on {front}")), "{line}");
    lb.signal(rustix::process::Signal::TERM);
    let lines = lb.ended().1;
    assert!(!lines.iter().any(|line| line.contains("stopping")), "stderr is left once it serves: {lines:?}");
    let (front, usual) = text("", &place, "127.0.0.1:1");
    let file = File::new(&usual);
    let lb = file.run_in_its_own_file_system(prepare, &path).unwrap();
    lb.line_with(&format!("listening on {front}"));
    lb.signal(rustix::process::Signal::TERM);
    lb.line_with("stopping");
}

#[test]
fn stderr_is_nowhere_in_the_background() {
    let place = Place::new();
    for (to, code) in [("stderr", 64), ("auto", 0)] {
        let (front, text) = text(&format!("log.to = \"{to}\""), &place, "127.0.0.1:1");
        let file = File::new(&text);
        let (daemon, said) = Daemon::of_file(&file.path, front);
        assert_eq!((said.status.code(), daemon.is_there()), (Some(code), code == 0), "{said:?}");
    }
}

#[test]
fn events_are_lines_or_objects() {
    let place = Place::new();
    for (format, is_json) in [("", false), ("log.format = \"human\"", false), ("log.format = \"json\"", true)] {
        let (_, text) = text(format, &place, "127.0.0.1:1");
        let file = File::new(&text);
        let line = file.run().line_with("listening on");
        assert_eq!(serde_json::from_str::<Value>(&line).is_ok(), is_json, "{line}");
    }
}

#[test]
fn decisions_are_told() {
    let place = Place::new();
    let alpha = place.backend("alpha");
    for (trace, is_told) in [("", false), ("log.trace = true", true)] {
        let lb = place.serve_as(trace, &[(&format!("groups = \"{}\"", alpha.word()), "")]);
        assert_eq!(lb.ask(), "alpha");
        lb.running.signal(rustix::process::Signal::TERM);
        let lines = lb.running.ended().1;
        let told = format!("connecting to {}", alpha.word());
        assert_eq!(lines.iter().any(|line| line.contains(&told)), is_told, "{lines:?}");
    }
}

#[test]
fn control_is_where_it_was_asked_for() {
    let place = Place::new();
    // The file of each has a directory of its own.
    let [one, two]: [Lb; 2] = [(); 2].map(|()| place.serve("groups = \"127.0.0.1:1\""));
    for (lb, other) in [(&one, &two), (&two, &one)] {
        assert!(lb.file.order(lb.front(), "show").status.success());
        assert!(!lb.file.order(other.front(), "show").status.success());
        assert!(fs::exists(lb.file.directory.join("control")).unwrap());
    }
}

/// A field of the status of each thread.
fn of_threads(pid: u32, field: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|thread| thread.unwrap().path());
    let status = threads.filter_map(|thread| fs::read_to_string(thread.join("status")).ok());
    let value = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        line.split_whitespace().next().unwrap_or_default().to_owned()
    };
    status.map(value).collect()
}

#[test]
fn all_threads_become_the_user() {
    let place = Place::new();
    let (_, text) = text("process.user = \"4321:8765\"", &place, "127.0.0.1:1");
    let file = File::new(&text);
    if !rustix::process::geteuid().is_root() {
        let said = run(&mut crate::support::bare_command(&["run", "--config", &file.path]));
        assert!(String::from_utf8_lossy(&said.stderr).contains("only root can become another user"));
        return println!("skipped: only root can become somebody else");
    }
    let lb = file.run();
    lb.line_with("listening on");
    assert!(of_threads(lb.id(), "Uid:").iter().all(|uid| uid == "4321"));
    assert!(of_threads(lb.id(), "Gid:").iter().all(|gid| gid == "8765"));
    let lb = place.serve("groups = \"127.0.0.1:1\"");
    assert!(of_threads(lb.running.id(), "Uid:").iter().all(|uid| uid == "0"), "who it was");
}

#[test]
fn there_are_so_many_workers() {
    let place = Place::new();
    for workers in [1, 3, 7] {
        let lb = place.serve_as(&format!("process.workers = {workers}"), &[("groups = \"127.0.0.1:1\"", "")]);
        // A thread has its name a moment after it has begun.
        let named = || of_threads(lb.running.id(), "Name:").iter().filter(|name| *name == "lb-worker").count();
        wait_for("so many workers", || named() == workers);
    }
}

#[test]
fn names_are_asked_for_again() {
    let (place, directory) = (Place::new(), Directory::new());
    let hosts = directory.join("hosts");
    let [alpha, beta] = ["alpha", "beta"].map(|name| Place::new().backend(name));
    assert_eq!(alpha.address.port(), beta.address.port());
    fs::write(&hosts, format!("{} moving.test\n", alpha.address.ip())).unwrap();
    let backends = format!("moving.test:{}", alpha.address.port());
    let serve = |every: &str| {
        let (front, text) = text(&format!("process.resolve_every = \"{every}\""), &place, &backends);
        let file = File::new(&text);
        let lb = file.run_in_its_own_file_system("mount --bind \"$0\" /etc/hosts", &hosts)?;
        lb.line_with("listening on");
        assert_eq!(ask(front), "alpha");
        Some((front, lb, file))
    };
    let (Some(never), Some(often)) = (serve("never"), serve("100ms")) else { return };
    for (backend, name) in [(&beta, "beta"), (&alpha, "alpha"), (&beta, "beta")] {
        fs::write(&hosts, format!("{} moving.test\n", backend.address.ip())).unwrap();
        wait_for("the new address", || ask(often.0) == name);
        assert_eq!(ask(never.0), "alpha", "nobody has asked");
    }
}
