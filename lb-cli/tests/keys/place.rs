//! An address of this machine with backends, and `lb`s that run a file in front of them.

use std::{
    cell::Cell,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
};

use serde_json::Value;

use crate::support::{Backend, File, PORT, Running, Session, ask, fresh_ip};

/// An address of this machine that no other test uses; everybody in it has a port of its own.
pub(crate) struct Place {
    pub(crate) ip: Ipv4Addr,
    used: Cell<u16>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { ip: fresh_ip(), used: Cell::new(PORT) }
    }

    /// Where nobody listens so far.
    pub(crate) fn address(&self) -> SocketAddr {
        self.used.set(self.used.get() + 1);
        SocketAddr::from((self.ip, self.used.get()))
    }

    pub(crate) fn backend(&self, name: &'static str) -> Backend {
        Backend::at(name, self.address())
    }

    pub(crate) fn backends<const N: usize>(&self, names: [&'static str; N]) -> [Backend; N] {
        names.map(|name| self.backend(name))
    }

    pub(crate) fn listener(&self) -> TcpListener {
        TcpListener::bind(self.address()).unwrap()
    }

    /// A pool with these keys, and a service in front of it.
    pub(crate) fn serve(&self, pool: &str) -> Lb {
        self.serve_each(&[pool])
    }

    /// The same for each of these pools.
    pub(crate) fn serve_each(&self, pools: &[impl AsRef<str>]) -> Lb {
        let pools: Vec<(&str, &str)> = pools.iter().map(|pool| (pool.as_ref(), "")).collect();
        self.serve_as("", &pools)
    }

    /// A pool with these keys and a service with those for each pair, and something before all of them. They are called
    /// p0 and s0, p1 and s1 and so on.
    pub(crate) fn serve_as(&self, top: &str, pairs: &[(&str, &str)]) -> Lb {
        let (mut text, mut fronts) = (format!("{top}\n"), Vec::new());
        for (at, (pool, service)) in pairs.iter().enumerate() {
            let front = self.address();
            text += &format!("[services.s{at}]\nlisten = \"{front}\"\npool = \"p{at}\"\n{service}\n");
            text += &format!("[pools.p{at}]\n{}\n", pool.replace("[[groups]]", &format!("[[pools.p{at}.groups]]")));
            fronts.push(front);
        }
        let file = File::new(&text);
        let running = file.run();
        fronts.iter().for_each(|_| drop(running.line_with("listening on")));
        Lb { running, file, fronts }
    }
}

/// `lb run`. It is gone when the test is.
pub(crate) struct Lb {
    pub(crate) running: Running,
    pub(crate) file: File,
    pub(crate) fronts: Vec<SocketAddr>,
}

impl Lb {
    pub(crate) fn front(&self) -> SocketAddr {
        self.fronts[0]
    }

    pub(crate) fn ask(&self) -> String {
        ask(self.front())
    }

    /// A client of that service, if it is served at all.
    pub(crate) fn session(&self, service: usize) -> Option<Session> {
        Session::over(TcpStream::connect(self.fronts[service]).unwrap())
    }

    /// What an order to that service answers.
    pub(crate) fn must(&self, service: usize, order: &str) -> String {
        let said = self.file.order(self.fronts[service], order);
        assert!(said.status.success(), "{order}: {said:?}");
        String::from_utf8(said.stdout).unwrap()
    }

    /// What is known of that service.
    pub(crate) fn show(&self, service: usize) -> Value {
        serde_json::from_str(&self.must(service, "show json")).unwrap()
    }

    /// What is known of a backend by its number in the first group of that service's pool.
    pub(crate) fn backend(&self, service: usize, number: usize) -> Value {
        self.show(service)["groups"][0]["channels"][number].clone()
    }

    pub(crate) fn health(&self, service: usize, number: usize) -> String {
        self.backend(service, number)["health"].as_str().unwrap().to_owned()
    }

    pub(crate) fn count(&self, service: usize, number: usize, what: &str) -> u64 {
        self.backend(service, number)[what].as_u64().unwrap()
    }
}

/// How often a name is among these.
pub(crate) fn times(name: &str, all: &[String]) -> usize {
    all.iter().filter(|one| *one == name).count()
}
