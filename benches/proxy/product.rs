//! What is measured: how each product is started, and which tests suit it.
use std::path::{Path, PathBuf};

/// Descriptors a proxy needs beside those of its connections.
pub(crate) const SPARE_DESCRIPTORS: u64 = 250;

/// HAProxy opens a pipe for each direction that splices.
const SPLICE_CONNECTIONS: u64 = 1000;

/// The product the ratios refer to.
pub(crate) const REFERENCE: &str = "haproxy";

/// One row of the tables.
#[derive(Clone, Debug)]
pub(crate) struct Product {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What is run; none for `direct`.
    pub(crate) program: Option<PathBuf>,
    /// Measured in bulk transfer only.
    pub(crate) only_bulk: bool,
}

/// How a product is told what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No proxy: the load talks to the origin.
    Direct,
    /// `lb`, by arguments.
    Lb,
    /// HAProxy, by a configuration.
    Haproxy { splice: bool },
}

/// How to start a product on one port.
#[derive(Debug, Default)]
pub(crate) struct Launch {
    pub(crate) args: Vec<String>,
    /// What it reads from its standard input.
    pub(crate) input: String,
}

impl Product {
    /// Every product, in the order of the tables; `program` is none where it is not installed.
    pub(crate) fn all(lb: &Path) -> Vec<Self> {
        let lb = lb.is_file().then(|| lb.to_owned());
        let haproxy = in_path("haproxy");
        let product = |name, kind, program, only_bulk| Self { name, kind, program, only_bulk };
        vec![
            product("lb", Kind::Lb, lb, false),
            product(REFERENCE, Kind::Haproxy { splice: false }, haproxy.clone(), false),
            product("haproxy-splice", Kind::Haproxy { splice: true }, haproxy, true),
            product("direct", Kind::Direct, None, false),
        ]
    }

    /// Whether it can be started here.
    pub(crate) fn is_here(&self) -> bool {
        self.kind == Kind::Direct || self.program.is_some()
    }

    /// Arguments and input for `port` in front of `backends`, with one worker.
    pub(crate) fn launch(&self, port: u16, backends: &[u16], descriptors: u64) -> Launch {
        match self.kind {
            Kind::Direct => Launch::default(),
            Kind::Lb => Launch { args: lb_args(port, backends), input: String::new() },
            Kind::Haproxy { splice } => {
                let args = ["-db", "-f", "/dev/stdin"].map(str::to_owned).to_vec();
                Launch { args, input: haproxy_config(port, backends, splice, descriptors) }
            }
        }
    }
}

fn lb_args(port: u16, backends: &[u16]) -> Vec<String> {
    let first = ["-f", "-b", "127.0.0.1", "--workers", "1"].map(str::to_owned);
    let backends = backends.iter().map(|backend| format!("127.0.0.1:{backend}"));
    first.into_iter().chain([port.to_string()]).chain(backends).collect()
}

fn haproxy_config(port: u16, backends: &[u16], splice: bool, descriptors: u64) -> String {
    let (options, most) = if splice {
        ("option splice-request\n  option splice-response\n  ", SPLICE_CONNECTIONS)
    } else {
        ("", (descriptors / 2).saturating_sub(SPARE_DESCRIPTORS).max(100))
    };
    let server = |(index, backend): (usize, &u16)| format!("  server origin{index} 127.0.0.1:{backend}\n");
    let servers: String = backends.iter().enumerate().map(server).collect();
    format!(
        "global\n  nbthread 1\n  maxconn {most}\n\
         listen proxy\n  mode tcp\n  {options}bind 127.0.0.1:{port}\n  balance roundrobin\n  \
         timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n{servers}"
    )
}

/// The program of that name; daemons are not always in the path of a plain user.
pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lb_is_started_in_the_foreground_with_one_worker() {
        let line = lb_args(80, &[81, 82]).join(" ");
        assert_eq!(line, "-f -b 127.0.0.1 --workers 1 80 127.0.0.1:81 127.0.0.1:82");
    }
}
