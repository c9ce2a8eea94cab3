//! `lb run` of a configuration file, and its operator.

use std::{fs, net::SocketAddr, process::Output};

use super::{Directory, Running, bare_command, run};

/// A directory with a configuration file, and with the control sockets of who serves it.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) directory: Directory,
    pub(crate) path: String,
}

impl File {
    pub(crate) fn new(text: &str) -> Self {
        let directory = Directory::new();
        let (path, control) = (directory.join("lb.toml"), directory.join("control"));
        fs::write(&path, format!("{text}\n[control]\ndirectory = \"{control}\"\n")).unwrap();
        Self { directory, path }
    }

    pub(crate) fn run(&self) -> Running {
        Running::start(&["run", "--config", &self.path])
    }

    /// `lb -c order` for the service that listens there.
    pub(crate) fn order(&self, front: SocketAddr, order: &str) -> Output {
        let (ip, port, control) = (front.ip().to_string(), front.port().to_string(), self.directory.join("control"));
        run(&mut bare_command(&["--control-dir", &control, "-b", &ip, "-c", order, &port]))
    }
}
