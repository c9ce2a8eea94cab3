//! `lb diff`: what a reload would change, in the lb that runs or between two files.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::{
    fs::{self, Permissions},
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    thread::{self, JoinHandle},
};

use support::{Backend, Directory, Running, bare_command, fresh_address, run};

/// Status, stdout, stderr.
type Said = (Option<i32>, String, String);

fn diff(files: &[&str]) -> Said {
    let said = run(bare_command(&["diff"]).args(files));
    (said.status.code(), String::from_utf8(said.stdout).unwrap(), String::from_utf8(said.stderr).unwrap())
}

/// A directory with files, and with the control sockets of who serves them.
struct Files(Directory);

impl Files {
    fn new() -> Self {
        Self(Directory::new())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A service over these backends.
    fn text(&self, front: SocketAddr, groups: &str) -> String {
        format!(
            "[pools.web]\ngroups = \"{groups}\"\n[services.www]\nlisten = \"{front}\"\npool = \"web\"\n\
             [control]\ndirectory = \"{}\"\n",
            self.0.join("control")
        )
    }

    /// Somebody at the control socket of this service, who gives one session this answer to its first line, and returns
    /// that line.
    fn answer(&self, front: SocketAddr, answer: String) -> JoinHandle<String> {
        let place = self.0.join(&format!("control/{}.{}", front.port(), front.ip()));
        fs::create_dir_all(&place).unwrap();
        fs::set_permissions(self.0.join("control"), Permissions::from_mode(0o700)).unwrap();
        let listener = UnixListener::bind(format!("{place}/control")).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"lb 7 9.9.9\n").unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            line
        })
    }
}

/// An answer as it is sent.
fn sent(word: &str, text: &str) -> String {
    format!("{word} 0 {}\n{text}", text.len())
}

#[test]
fn two_files_are_compared_and_the_exit_status_is_that_of_diff() {
    let (files, front) = (Files::new(), fresh_address());
    let old = files.text(front, "a:1 b:1:9");
    let more = "[pools.api]\ngroups = \"x:1\"\n[process]\nworkers = 3\n";
    let (one, two) = (files.write("one", &old), files.write("two", &(files.text(front, "c:1 b:1:7") + more)));
    let expected = "+ pool api: 1 backend in 1 group\n\
                    ~ pool web: - backend a:1 in group 0\n\
                    ~ pool web: + backend c:1 in group 0\n\
                    ~ pool web: backend b:1: limit 9 -> 7\n\
                    ~ process: workers unset -> 3 (takes effect at the next start)\n";
    let (status, out, err) = diff(&[&one, &two]);
    assert_eq!((status, out.as_str()), (Some(1), expected));
    assert!(
        err.contains("two:") && err.contains("warning: ") && !err.contains("one:"),
        "the new file's warnings: {err}"
    );
    let same =
        files.write("same", &old.replace("[pools.web]\ngroups = \"a:1 b:1:9\"", "pools.web.groups = 'a:1  b:1:9'"));
    assert_eq!(diff(&[&one, &same]), (Some(0), String::new(), String::new()));
}

#[test]
fn all_backends_are_told_however_many_they_are() {
    let (files, front) = (Files::new(), fresh_address());
    let words: Vec<String> = (0..1_000).map(|number| format!("b{number}:1")).collect();
    let [one, two] =
        [("one", ""), ("two", &words.join(" "))].map(|(name, groups)| files.write(name, &files.text(front, groups)));
    let (status, out, _) = diff(&[&one, &two]);
    assert_eq!((status, out.lines().count()), (Some(1), 1_001));
    assert!(out.ends_with("~ pool web: + backend b999:1 in group 0\n"));
}

#[test]
fn what_is_wrong_with_a_file_is_told_as_by_check() {
    let files = Files::new();
    let (good, bad) = (files.write("good", ""), files.write("bad", "[pools.web]\nselectr = \"hash\"\n"));
    let told = format!(
        "{bad}:2:1: unknown key 'selectr': did you mean 'selector'?\n  2 | selectr = \"hash\"\n    | ^^^^^^^\n\
         lb: {bad}: 1 error\n"
    );
    for these in [&[&*bad][..], &[&bad, &good], &[&good, &bad]] {
        let (status, out, err) = diff(these);
        assert_eq!((status, out.as_str()), (Some(64), ""), "{these:?}");
        assert!(err.ends_with(&told), "{err}");
    }
    let (status, _, err) = diff(&["/no/such/file"]);
    assert!(status == Some(71) && err.starts_with("lb: /no/such/file: No such file"), "{err}");
    let (status, _, err) = diff(&[&good, &good, &good]);
    assert!(status == Some(64) && err.contains("is one word too many; see lb diff --help"), "{err}");
}

#[test]
fn the_running_lb_is_asked_what_it_has_loaded() {
    let (files, front) = (Files::new(), fresh_address());
    let new = files.write("lb.toml", &files.text(front, "a:1:5"));
    let asked = files.answer(front, sent("ok", &files.text(front, "a:1")));
    assert_eq!(diff(&[&new]), (Some(1), "~ pool web: backend a:1: limit none -> 5\n".to_owned(), String::new()));
    assert_eq!(asked.join().unwrap(), "dump loaded\n");
}

#[test]
fn services_are_asked_one_after_the_other_until_one_tells() {
    let (files, fronts) = (Files::new(), [(); 3].map(|()| fresh_address()));
    let mut text = files.text(fronts[2], "a:1");
    for (number, front) in fronts[..2].iter().enumerate() {
        text += &format!("[services.a{number}]\nlisten = \"{front}\"\npool = \"web\"\n");
    }
    let file = files.write("lb.toml", &text);
    // Nobody at the first, one without a file at the second.
    let silent = files.answer(fronts[1], sent("failed", "there is no file\n"));
    let telling = files.answer(fronts[2], sent("ok", &text));
    assert_eq!(diff(&[&file]), (Some(0), String::new(), String::new()));
    assert_eq!([silent, telling].map(|asked| asked.join().unwrap()), ["dump loaded\n"; 2]);
}

#[test]
fn without_a_running_lb_that_tells_the_remedy_is_named() {
    let (files, front) = (Files::new(), fresh_address());
    let file = files.write("lb.toml", &files.text(front, "a:1"));
    let remedy = "; lb diff OLD NEW compares two files\n";
    let sought = format!("no lb that serves one of its services has its control socket in {}", files.0.join("control"));
    assert_eq!(diff(&[&file]), (Some(70), String::new(), format!("lb: {file}: {sought}{remedy}")));
    let who = format!("lb: {file}: the lb that listens on {front} (pid 7, 9.9.9)");
    let rows = [
        (sent("failed", "there is no file\nreally\n"), "does not tell what it has loaded: there is no file"),
        (sent("ok", "[pools]\nx = 1\n"), "has loaded what cannot be read here: 2:5: "),
        ("ok 0 50\n[log]".to_owned(), "(pid 7, 9.9.9): "),
    ];
    for (answer, part) in rows {
        let asked = files.answer(front, answer);
        let (status, out, err) = diff(&[&file]);
        assert_eq!((status, out.as_str()), (Some(69), ""), "{err}");
        assert!(err.starts_with(&who) && err.contains(part) && err.ends_with(remedy), "{err}");
        asked.join().unwrap();
        fs::remove_dir_all(files.0.join("control")).unwrap();
    }
}

#[test]
fn a_file_that_leads_to_no_lb_says_what_it_lacks() {
    let files = Files::new();
    let none = files.write("none", "[pools.web]\ngroups = \"a:1\"\n");
    let (status, _, err) = diff(&[&none]);
    let line = format!("lb: {none}: there is no service to find a running lb by: add [services.NAME]; lb diff OLD NEW");
    assert!(status == Some(64) && err.contains(&line), "{err}");
    let elsewhere = files.write("elsewhere", &files.text(fresh_address(), "a:1").replace("/control\"", "/elsewhere\""));
    let (status, _, err) = diff(&[&elsewhere]);
    let part = "it is no directory; control.directory names another directory for it; lb diff OLD NEW";
    assert!(status == Some(71) && err.contains(part), "{err}");
}

#[test]
fn a_file_is_compared_with_what_an_lb_has_loaded_and_not_with_what_was_ordered_of_it() {
    let (files, front, alpha) = (Files::new(), fresh_address(), Backend::start("alpha"));
    let text = files.text(front, &alpha.word());
    let file = files.write("lb.toml", &text);
    let lb = Running::start(&["run", "--config", &file]);
    lb.line_with("listening on");
    let (ip, port, control) = (front.ip().to_string(), front.port().to_string(), files.0.join("control"));
    let said = run(&mut bare_command(&["--control-dir", &control, "-b", &ip, "-c", "maxc 0 9", &port]));
    assert!(said.status.success());
    assert_eq!(diff(&[&file]), (Some(0), String::new(), String::new()));
    files.write("lb.toml", &text.replace("[services.www]", "slow_start = \"5s\"\n[services.www]"));
    assert_eq!(diff(&[&file]), (Some(1), "~ pool web: slow_start off -> 5s\n".to_owned(), String::new()));
}

#[test]
fn help_tells_of_exit_statuses_and_orders() {
    let (status, out, _) = diff(&["--help"]);
    assert_eq!(status, Some(0));
    for part in
        ["lb diff [FILE]", "lb diff OLD NEW", "/etc/lb/lb.toml", "Exit status: 0 nothing is different", "ordered"]
    {
        assert!(out.contains(part), "{part} in {out}");
    }
}
