//! Reloads at odd moments, and of odd files.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::{fs, net::SocketAddr};

use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};
use support::{Backend, File, Running, ask, fresh_address};

/// The pool `web` of this backend, and a service at each of these places.
fn text(backend: &Backend, places: &[SocketAddr]) -> String {
    let service = |(at, place)| format!("[services.s{at}]\nlisten = \"{place}\"\npool = \"web\"\n");
    let services: String = places.iter().enumerate().map(service).collect();
    format!("[pools.web]\ngroups = \"{}\"\n{services}", backend.word())
}

/// `lb run` of a file that can be written anew.
struct Served {
    file: File,
    lb: Running,
}

impl Served {
    fn new(text: &str) -> Self {
        let file = File::new(text);
        let lb = file.run();
        lb.line_with("listening on");
        Self { file, lb }
    }

    fn write(&self, text: &str) {
        let control = self.file.directory.join("control");
        let _ = fs::remove_file(&self.file.path).or_else(|_| fs::remove_dir(&self.file.path));
        fs::write(&self.file.path, format!("{text}\n[control]\ndirectory = \"{control}\"\n")).unwrap();
    }

    fn order(&self, front: SocketAddr, order: &str) -> (Option<i32>, String) {
        let said = self.file.order(front, order);
        (said.status.code(), String::from_utf8([said.stdout, said.stderr].concat()).unwrap())
    }
}

#[test]
fn who_orders_the_end_of_the_place_that_he_is_at_gets_an_answer() {
    let (alpha, [front, other]) = (Backend::start("alpha"), [fresh_address(), fresh_address()]);
    let served = Served::new(&text(&alpha, &[front, other]));
    for _ in 0..20 {
        served.write(&text(&alpha, &[front]));
        assert_eq!(served.order(other, "reload"), (Some(0), "- service s1\n".to_owned()));
        served.write(&text(&alpha, &[front, other]));
        let listens = format!("+ service s1: listens on {other}, pool web\n");
        assert_eq!(served.order(front, "reload"), (Some(0), listens));
    }
}

#[test]
fn what_is_no_file_of_a_sane_size_is_refused_at_once_and_the_next_reload_works() {
    let (alpha, [front, other]) = (Backend::start("alpha"), [fresh_address(), fresh_address()]);
    let served = Served::new(&text(&alpha, &[front]));
    let path = served.file.path.clone();
    let make: [(&str, &dyn Fn()); 4] = [
        ("it is no regular file", &|| mknodat(CWD, &*path, FileType::Fifo, Mode::RUSR, 0).unwrap()),
        ("Is a directory", &|| fs::create_dir(&path).unwrap()),
        ("it has more than 16 MiB", &|| fs::write(&path, "a = 1\n".repeat(3 << 20)).unwrap()),
        ("No such file", &|| {}),
    ];
    for (why, make) in make {
        served.write("");
        fs::remove_file(&path).unwrap();
        make();
        let (status, said) = served.order(front, "reload");
        assert!(status != Some(0) && said.contains(why), "{said}");
        served.lb.signal(Signal::HUP);
        served.lb.line_with("not reloaded");
        assert_eq!(ask(front), "alpha");
    }
    served.write(&text(&alpha, &[front, other]));
    served.lb.signal(Signal::HUP);
    served.lb.line_with(&format!("listening on {other}"));
    assert_eq!(ask(other), "alpha");
}
