//! The control socket: whose it is, who may reach it, and what is left of it.
#![cfg(feature = "manage")]
#![allow(clippy::unwrap_used, reason = "only tests call it")]

#[path = "support/controlled.rs"]
mod controlled;

use std::{
    fs,
    io::Read as _,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
        net::{UnixListener, UnixStream},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    sync::{Barrier, Mutex, mpsc},
    thread::{self},
    time::{Duration, Instant},
};

use controlled::*;
use lb_net::manage::{Client, ConnectError, ControlSocket, Place, PlaceError, Settings};

#[test]
fn only_the_owner_can_reach_the_socket() {
    let scratch = Scratch::new();
    let socket = ControlSocket::claim(&scratch.place(80)).unwrap();
    let path = scratch.place(80).socket();
    assert_eq!((mode(&path), mode(path.parent().unwrap()), mode(&scratch.control())), (0o600, 0o700, 0o700));
    drop(socket);
}

#[test]
fn nothing_of_an_instance_is_left_after_its_end() {
    let scratch = Scratch::new();
    let running = Running::start(&scratch.place(80), fleet("alpha"), Settings::default());
    let mut client = running.client();
    assert_eq!(files(&scratch.control()).len(), 2);
    drop(running);
    assert_eq!(files(&scratch.control()), Vec::<PathBuf>::new());
    assert!(client.wait_for_end(HUNG).unwrap());
}

#[test]
fn a_query_leaves_nothing_behind() {
    let scratch = Scratch::new();
    let absent = |port| matches!(Client::connect(&scratch.place(port)), Err(ConnectError::Absent(_)));
    assert!(absent(80));
    assert_eq!(files(&scratch.0), Vec::<PathBuf>::new());
    let _other = ControlSocket::claim(&scratch.place(81)).unwrap();
    let before = files(&scratch.0);
    assert!(absent(80));
    assert_eq!(files(&scratch.0), before);
}

#[test]
fn instances_are_apart_by_port_and_by_the_text_of_their_address() {
    let scratch = Scratch::new();
    let place = |port, bind| Place::new(Some(&scratch.control()), port, bind).unwrap();
    let places = [place(80, None), place(81, None), place(80, Some("127.0.0.1")), place(80, Some("localhost"))];
    let sockets: Vec<_> = places.iter().map(|place| ControlSocket::claim(place).unwrap()).collect();
    assert!(matches!(ControlSocket::claim(&place(80, Some("0.0.0.0"))), Err(PlaceError::InUse { .. })));
    drop(sockets);
}

#[test]
fn a_second_instance_is_refused_while_the_first_one_lives() {
    let scratch = Scratch::new();
    let place = scratch.place(80);
    let running = Running::start(&place, fleet("alpha"), Settings::default());
    let error = ControlSocket::claim(&place).unwrap_err();
    assert_eq!(error.to_string(), format!("another lb serves port 80 on 0.0.0.0 (pid {})", std::process::id()));
    assert_eq!(running.client().execute("disable 0").unwrap().text, "channel 0 disabled\n", "and the first one serves");
    drop(running);
    drop(ControlSocket::claim(&place).unwrap());
}

#[test]
fn one_whose_queue_is_full_is_alive() {
    let scratch = Scratch::new();
    let place = scratch.place(80);
    let _socket = ControlSocket::claim(&place).unwrap();
    let (send, filled) = mpsc::channel();
    let path = place.socket();
    thread::spawn(move || {
        let connect = |_| {
            let stream =
                socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM.nonblocking(), None).unwrap();
            stream.connect(&socket2::SockAddr::unix(&path).unwrap()).is_ok().then_some(stream)
        };
        send.send((0..1_000).map_while(connect).collect::<Vec<_>>()).unwrap();
    });
    let waiting = filled.recv_timeout(HUNG).unwrap();
    assert!(waiting.len() < 1_000);
    assert!(matches!(ControlSocket::claim(&place), Err(PlaceError::InUse { pid: None, .. })));
}

#[test]
fn a_stale_socket_is_told_and_replaced() {
    let scratch = Scratch::new();
    let place = scratch.place(80);
    drop(ControlSocket::claim(&place).unwrap());
    fs::create_dir(place.socket().parent().unwrap()).unwrap();
    // What a killed process leaves: a socket that nobody listens at.
    drop(UnixListener::bind(place.socket()).unwrap());
    let error = Client::connect(&place).unwrap_err();
    assert!(matches!(&error, ConnectError::Stale(path) if *path == place.socket()), "{error}");
    let running = Running::start(&place, fleet("alpha"), Settings::default());
    assert_eq!(running.client().execute("disable 0").unwrap().text, "channel 0 disabled\n");
    assert_eq!(mode(&place.socket()), 0o600);
    drop(running);
    assert_eq!(files(&scratch.control()), Vec::<PathBuf>::new());
}

#[test]
fn who_starts_clears_away_what_killed_instances_have_left_and_nothing_else() {
    let scratch = Scratch::new();
    let alive = ControlSocket::claim(&scratch.place(80)).unwrap();
    let killed = scratch.place(81).socket();
    fs::create_dir(killed.parent().unwrap()).unwrap();
    drop(UnixListener::bind(&killed).unwrap());
    fs::create_dir(scratch.control().join("82.handed-over")).unwrap();
    let kept = ["notes", "83.file", "84.full/control", "84.full/notes", "other.dir/control"];
    let kept = kept.map(|name| scratch.control().join(name));
    for path in &kept {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let socket = ControlSocket::claim(&scratch.place(90)).unwrap();
    assert!(!killed.parent().unwrap().exists() && !scratch.control().join("82.handed-over").exists());
    assert!(kept.iter().all(|path| path.exists()));
    UnixStream::connect(scratch.place(80).socket()).unwrap();
    drop((alive, socket));
}

#[test]
fn of_many_that_start_at_once_exactly_one_wins() {
    let scratch = Scratch::new();
    for round in 0..40 {
        let place = scratch.place(80);
        if round % 2 == 1 {
            fs::create_dir_all(place.socket().parent().unwrap()).unwrap();
            drop(UnixListener::bind(place.socket()).unwrap());
        }
        let barrier = Barrier::new(4);
        let winners = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    barrier.wait();
                    match ControlSocket::claim(&place) {
                        Ok(socket) => winners.lock().unwrap().push(socket),
                        Err(PlaceError::InUse { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                });
            }
        });
        assert_eq!(winners.into_inner().unwrap().len(), 1, "round {round}");
    }
}

#[test]
fn starting_and_stopping_side_by_side_leaves_the_last_one_serving() {
    let scratch = Scratch::new();
    let place = scratch.place(80);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..60 {
                    match ControlSocket::claim(&place) {
                        // Whoever has it can be reached, whoever else is stopping or starting.
                        Ok(socket) => {
                            UnixStream::connect(place.socket()).unwrap();
                            drop(socket);
                        }
                        Err(PlaceError::InUse { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            });
        }
    });
    drop(ControlSocket::claim(&place).unwrap());
    assert_eq!(files(&scratch.control()), Vec::<PathBuf>::new());
}

#[test]
fn who_stops_waits_for_nobody_who_starts() {
    let scratch = Scratch::new();
    let starts = || {
        let socket = ControlSocket::claim(&scratch.place(80)).unwrap();
        let directory = fs::File::open(scratch.control()).unwrap();
        rustix::fs::flock(&directory, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let began = Instant::now();
        drop(socket);
        began.elapsed()
    };
    // Others use this machine too: one good time will do.
    assert!((0..5).any(|_| starts() < Duration::from_millis(50)));
    assert!(!scratch.place(80).socket().exists());
    // Its directory was not its own to remove. Whoever starts clears it away.
    drop(ControlSocket::claim(&scratch.place(81)).unwrap());
    assert_eq!(files(&scratch.control()), Vec::<PathBuf>::new());
}

#[test]
fn a_socket_that_somebody_else_put_there_is_not_removed() {
    let scratch = Scratch::new();
    let place = scratch.place(80);
    let socket = ControlSocket::claim(&place).unwrap();
    fs::remove_file(place.socket()).unwrap();
    let _theirs = UnixListener::bind(place.socket()).unwrap();
    drop(socket);
    assert!(place.socket().exists());
}

#[test]
fn a_directory_that_is_open_to_others_is_refused() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.control()).unwrap();
    for open in [0o755, 0o710, 0o701] {
        fs::set_permissions(scratch.control(), fs::Permissions::from_mode(open)).unwrap();
        let error = ControlSocket::claim(&scratch.place(80)).unwrap_err();
        let path = scratch.control();
        let expected = format!(
            "control directory {}: it is open to others (mode {open:04o}), chmod 700 would close it",
            path.display()
        );
        assert_eq!(error.to_string(), expected);
        let asked = Client::connect(&scratch.place(80)).unwrap_err();
        assert_eq!(asked.to_string(), expected);
    }
}

#[test]
fn a_link_or_a_file_is_no_directory() {
    let scratch = Scratch::new();
    let real = scratch.0.join("real");
    fs::create_dir(&real).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o700)).unwrap();
    symlink(&real, scratch.control()).unwrap();
    for directory in [scratch.control(), scratch.control().join("")] {
        let place = Place::new(Some(&directory), 80, None).unwrap();
        assert!(matches!(ControlSocket::claim(&place), Err(PlaceError::NoDirectory(_))), "{}", directory.display());
        assert!(matches!(Client::connect(&place), Err(ConnectError::Place(PlaceError::NoDirectory(_)))));
    }
    fs::remove_file(scratch.control()).unwrap();
    fs::write(scratch.control(), "").unwrap();
    assert!(matches!(ControlSocket::claim(&scratch.place(80)), Err(PlaceError::NoDirectory(_))));
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let scratch = Scratch::new();
    let place = Place::new(Some(&scratch.0.join("missing/control")), 80, None).unwrap();
    let error = ControlSocket::claim(&place).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot use {}", place.directory().display()));
}

#[test]
fn a_path_that_no_socket_can_have_is_refused() {
    let scratch = Scratch::new();
    let place = Place::new(Some(&scratch.0.join("x".repeat(90))), 80, None).unwrap();
    assert!(matches!(ControlSocket::claim(&place), Err(PlaceError::TooLong(_))));
    assert!(matches!(Client::connect(&place), Err(ConnectError::Place(PlaceError::TooLong(_)))));
    assert_eq!(files(place.directory()), Vec::<PathBuf>::new());
}

#[test]
fn somebody_elses_directory_is_refused() {
    if !is_root() {
        println!("skipped: only root can give a directory away");
        return;
    }
    let scratch = Scratch::new();
    drop(ControlSocket::claim(&scratch.place(80)).unwrap());
    std::os::unix::fs::chown(scratch.control(), Some(65_534), None).unwrap();
    let error = ControlSocket::claim(&scratch.place(80)).unwrap_err();
    assert!(matches!(error, PlaceError::Foreign { uid: 65_534, .. }), "{error}");
}

#[test]
fn what_is_handed_over_can_be_removed_by_its_new_owner_only_there() {
    if !is_root() {
        println!("skipped: only root can hand over");
        return;
    }
    let scratch = Scratch::new();
    let (place, other) = (scratch.place(80), scratch.place(81));
    let socket = ControlSocket::claim(&place).unwrap();
    let _other = ControlSocket::claim(&other).unwrap();
    socket.hand_over(65_534, 65_534).unwrap();
    let owner = |path: &Path| (fs::symlink_metadata(path).unwrap().uid(), mode(path));
    assert_eq!(owner(&place.socket()), (65_534, 0o600));
    assert_eq!(owner(place.socket().parent().unwrap()), (65_534, 0o700));
    assert_eq!((owner(&scratch.control()), owner(&other.socket())), ((0, 0o700), (0, 0o600)));
    // Root asks as before; a second instance is refused, and takes nothing back.
    let error = ControlSocket::claim(&place).unwrap_err();
    assert!(matches!(error, PlaceError::InUse { .. }), "{error}");
    assert_eq!(owner(place.socket().parent().unwrap()).0, 65_534);
    // A thread is one more process to the kernel where it is about privileges.
    thread::spawn(move || {
        let nobody = rustix::process::Uid::from_raw(65_534);
        rustix::thread::set_thread_uid(nobody).unwrap();
        drop(socket);
    })
    .join()
    .unwrap();
    assert!(!place.socket().exists() && other.socket().exists());
    // What is left is no hindrance, and is ours again.
    let again = ControlSocket::claim(&place).unwrap();
    assert_eq!(owner(place.socket().parent().unwrap()).0, 0);
    drop(again);
    assert!(!place.socket().parent().unwrap().exists());
}

/// Not a test: what another user does in the one below.
#[test]
#[ignore = "run by another test, as another user"]
fn a_stranger_calls() {
    let Some(path) = std::env::var_os("LB_TEST_SOCKET") else { return };
    let mut text = String::new();
    UnixStream::connect(path).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "lb - it answers to uid 0 and to root, you are uid 65534\n");
}

#[test]
fn another_user_gets_no_session_even_with_the_path_open() {
    if !is_root() {
        println!("skipped: only root can be two users");
        return;
    }
    let scratch = Scratch::new();
    let running = Running::start(&scratch.place(80), fleet("alpha"), Settings::default());
    let socket = running.place.socket();
    let opened = [&scratch.0, &scratch.control(), socket.parent().unwrap(), &socket].map(Path::to_owned);
    for path in opened {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    // A copy that another user can reach.
    let program = scratch.0.join("stranger");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut stranger = std::process::Command::new(program);
    stranger.args(["--exact", "a_stranger_calls", "--ignored"]).env("LB_TEST_SOCKET", &socket);
    let output = stranger.uid(65_534).gid(65_534).current_dir("/").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
