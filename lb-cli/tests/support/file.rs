//! `lb run` of a configuration file, and its operator.

use std::{
    fs,
    net::SocketAddr,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use super::{Directory, Running, bare_command, run};

/// A directory with a configuration file, and with the control sockets of who serves it.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) directory: Directory,
    pub(crate) path: String,
}

impl File {
    pub(crate) fn new(text: &str) -> Self {
        Self::with_control(text, "")
    }

    /// With more in its table of control.
    pub(crate) fn with_control(text: &str, control: &str) -> Self {
        let directory = Directory::new();
        let file = Self { path: directory.join("lb.toml"), directory };
        file.rewrite_with_control(text, control);
        file
    }

    /// Another content; who serves it does not know yet.
    pub(crate) fn rewrite(&self, text: &str) {
        self.rewrite_with_control(text, "");
    }

    pub(crate) fn rewrite_with_control(&self, text: &str, control: &str) {
        let directory = self.directory.join("control");
        fs::write(&self.path, format!("{text}\n[control]\ndirectory = \"{directory}\"\n{control}\n")).unwrap();
    }

    pub(crate) fn run(&self) -> Running {
        Running::start(&["run", "--config", &self.path])
    }

    /// The same with something of its own mounted, which only root may do, and not everywhere: then it says so. `$0` of
    /// what prepares that is this path.
    pub(crate) fn run_in_its_own_file_system(&self, prepare: &str, path: &str) -> Option<Running> {
        let script = format!("{prepare} && exec \"$@\"");
        let unshare = |program: &[&str]| {
            let mut unshare = Command::new("unshare");
            unshare.args(["--mount", "sh", "-c", &script, path]).args(program);
            unshare.stdin(Stdio::null()).stdout(Stdio::null());
            unshare
        };
        if !unshare(&["true"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            println!("skipped: no file system of one's own here");
            return None;
        }
        Some(Running::spawn(&mut unshare(&[env!("CARGO_BIN_EXE_lb"), "run", "--config", &self.path])))
    }

    /// `lb -c order` for the service that listens there.
    pub(crate) fn order(&self, front: SocketAddr, order: &str) -> Output {
        let (ip, port, control) = (front.ip().to_string(), front.port().to_string(), self.directory.join("control"));
        run(&mut bare_command(&["--control-dir", &control, "-b", &ip, "-c", order, &port]))
    }

    /// What an order says that must go well.
    pub(crate) fn must(&self, front: SocketAddr, order: &str) -> String {
        let said = self.order(front, order);
        assert!(said.status.success(), "{order}: {said:?}");
        String::from_utf8(said.stdout).unwrap()
    }

    /// What is known of the channels of a group behind that service.
    pub(crate) fn channels(&self, front: SocketAddr, group: usize) -> Vec<Value> {
        let shown: Value = serde_json::from_str(&self.must(front, "show json")).unwrap();
        shown["groups"][group]["channels"].as_array().unwrap().clone()
    }
}
