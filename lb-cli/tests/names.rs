//! Host names of backends while `lb` runs: asked for again in time and at HUP, and the last good answer kept.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests call it")]

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{IpAddr, SocketAddr},
    process::{Child, ChildStderr, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use support::{Backend, Directory, ask, fresh_address, wait_for};

/// An `lb` that has a hosts file of its own. It is gone when the test is.
struct Named {
    child: Child,
    front: SocketAddr,
    said: BufReader<ChildStderr>,
    hosts: String,
    _directory: Directory,
}

/// In a mount namespace, which only root may make, and not everywhere.
const WITH_HOSTS: &str = r#"mount --bind "$0" /etc/hosts && exec "$@""#;

impl Named {
    fn can_be() -> bool {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-c", "mount --bind /etc/hosts /etc/hosts"]).stderr(Stdio::null());
        let possible = unshare.status().is_ok_and(|status| status.success());
        if !possible {
            println!("skipped: no file system of one's own here");
        }
        possible
    }

    fn start(options: &[&str], ip: IpAddr, port: u16) -> Self {
        let (directory, front) = (Directory::new(), fresh_address());
        let hosts = directory.join("hosts");
        fs::write(&hosts, format!("{ip} moving.test\n")).unwrap();
        let mut lb = Command::new("unshare");
        lb.args(["--mount", "sh", "-c", WITH_HOSTS, &hosts, env!("CARGO_BIN_EXE_lb"), "-f"]).args(options);
        let word = format!("moving.test:{port}");
        lb.args(["-b", &front.ip().to_string(), &front.port().to_string(), &word]);
        let mut child = lb.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        let mut named = Self { child, front, said, hosts, _directory: directory };
        named.line_with("listening on");
        named
    }

    /// In place: it is the file that is mounted.
    fn names(&self, hosts: &str) {
        fs::write(&self.hosts, hosts).unwrap();
    }

    fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
    }

    fn line_with(&mut self, text: &str) -> String {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.said.read_line(&mut line).unwrap(), 0, "no line with {text}");
        }
        line
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn hup_asks_for_names_again_and_the_last_good_answer_is_kept() {
    if !Named::can_be() {
        return;
    }
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let mut lb = Named::start(&["--resolve-every", "0"], alpha.address.ip(), alpha.address.port());
    assert_eq!(ask(lb.front), "alpha");
    lb.names(&format!("{} moving.test\n", beta.address.ip()));
    assert_eq!(ask(lb.front), "alpha", "nobody has asked");
    lb.hang_up();
    lb.line_with(&beta.address.ip().to_string());
    assert_eq!(ask(lb.front), "beta");
    lb.names("127.0.0.1 something.else\n");
    lb.hang_up();
    let line = lb.line_with("moving.test");
    assert_eq!(ask(lb.front), "beta", "{line}");
}

#[test]
fn names_are_asked_for_again_in_time() {
    if !Named::can_be() {
        return;
    }
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let lb = Named::start(&["--resolve-every", "0.2"], alpha.address.ip(), alpha.address.port());
    assert_eq!(ask(lb.front), "alpha");
    lb.names(&format!("{} moving.test\n", beta.address.ip()));
    wait_for("the new address to be used", || ask(lb.front) == "beta");
}

#[test]
fn all_addresses_of_a_name_are_used() {
    if !Named::can_be() {
        return;
    }
    let (alpha, dead) = (Backend::start("alpha"), fresh_address().ip());
    let lb = Named::start(&["--resolve-every", "0"], dead, alpha.address.port());
    lb.names(&format!("{dead} moving.test\n{} moving.test\n", alpha.address.ip()));
    lb.hang_up();
    // One of them refuses: the other one is tried, and no client notices.
    wait_for("the other address", || {
        let stream = std::net::TcpStream::connect(lb.front).unwrap();
        support::Session::over(stream).is_some()
    });
    for _ in 0..6 {
        assert_eq!(ask(lb.front), "alpha");
    }
}
