//! Files that are named and are none: nothing waits for them.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    process::{Command, Stdio},
    thread,
};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use support::{Directory, File, fresh_address, run};

/// It looks like a file, and who reads all of it waits for more. Who is not root may not read it at all.
const ENDLESS: &str = "/proc/kmsg";

fn lb(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lb"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(args: &[&str]) -> (bool, String) {
    let said = run(&mut lb(args));
    (said.status.success(), String::from_utf8([said.stdout, said.stderr].concat()).unwrap())
}

fn pipe(directory: &Directory) -> String {
    let path = directory.join("pipe");
    mknodat(CWD, &*path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    path
}

const SMALL: &str = "[pools.web]\ngroups = \"127.0.0.1:9\"\n[services.www]\nlisten = \"127.0.0.1:9\"\npool = \"web\"\n";

#[test]
fn a_page_node_file_or_token_that_is_no_file_is_refused_by_its_name() {
    let directory = Directory::new();
    let (pipe, front) = (pipe(&directory), fresh_address());
    for path in [pipe.as_str(), ENDLESS, "/dev/zero"] {
        let page = format!("{SMALL}role = \"http\"\n[services.www.http]\nunavailable_page = \"{path}\"");
        let (fine, text) = said(&["check", &File::new(&page).path]);
        let named = [format!("{path} is no file"), format!("{path}: cannot be read")];
        assert!(!fine && named.iter().any(|named| text.contains(named)), "{text}");

        let service = format!("[services.www]\nlisten = \"{front}\"\npool = \"web\"\n");
        let nodes = format!("[[pools.web.groups]]\nnodes = \"{path}\"\n{service}");
        let (fine, text) = said(&["run", "--config", &File::new(&nodes).path]);
        let named = ["it is no regular file", "cannot read it"].map(|why| format!("{path}: {why}"));
        assert!(!fine && named.iter().any(|named| text.contains(named)), "{text}");

        let small = format!("[pools.web]\ngroups = \"127.0.0.1:9\"\n{service}");
        let control = format!("http = \"{}\"\ntoken_file = \"{path}\"", fresh_address());
        let (fine, text) = said(&["run", "--config", &File::with_control(&small, &control).path]);
        assert!(!fine && text.contains(&format!("cannot read the token file {path}")), "{text}");
    }
}

#[test]
fn a_configuration_that_only_looks_like_a_file_or_has_no_end_is_refused() {
    for command in [&["check"][..], &["run", "--config"]] {
        let (fine, text) = said(&[command, &[ENDLESS]].concat());
        let why = ["it is no regular file", "denied", "not permitted", "such file"];
        assert!(!fine && text.contains(ENDLESS) && why.iter().any(|why| text.contains(why)), "{text}");
        let (fine, text) = said(&[command, &["/dev/zero"]].concat());
        assert!(!fine && text.contains("/dev/zero: it has more than 16 MiB"), "{text}");
    }
}

#[test]
fn a_configuration_may_come_through_a_pipe_however_late() {
    let directory = Directory::new();
    let pipe = pipe(&directory);
    let late = thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, SMALL).unwrap()
    });
    let (fine, text) = said(&["check", &pipe]);
    assert!(fine && text.contains("good: 1 service"), "{text}");
    late.join().unwrap();
    for name in ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
        let mut child = lb(&["check", name]).stdin(Stdio::piped()).spawn().unwrap();
        let (begin, rest) = SMALL.split_at(20);
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(begin.as_bytes()).unwrap();
        stdin.write_all(rest.as_bytes()).unwrap();
        drop(stdin);
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(child.wait().unwrap().success() && text.contains("good: 1 service"), "{name}: {text}");
    }
}
