//! What is measured: the products, and which tests suit them.
use crate::config;
use crate::place::Place;
use crate::test::{Layer, Test};
use std::path::{Path, PathBuf};

/// The product the ratios refer to.
pub(crate) const REFERENCE: &str = "haproxy";

/// One row of the tables.
#[derive(Clone, Debug)]
pub(crate) struct Product {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What is run; none for `direct`.
    pub(crate) program: Option<PathBuf>,
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
    /// nginx, by a configuration.
    Nginx,
    /// Caddy, by a configuration.
    Caddy,
}

/// How to start a product there.
#[derive(Debug, Default)]
pub(crate) struct Launch {
    pub(crate) args: Vec<String>,
    /// What it reads from its standard input.
    pub(crate) input: String,
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Product {
    /// Every product, in the order of the tables; `program` is none where it is not installed.
    pub(crate) fn all(lb: &Path) -> Vec<Self> {
        let lb = lb.is_file().then(|| lb.to_owned());
        let haproxy = in_path("haproxy");
        let product = |name, kind, program| Self { name, kind, program };
        vec![
            product("lb", Kind::Lb, lb),
            product(REFERENCE, Kind::Haproxy { splice: false }, haproxy.clone()),
            product("haproxy-splice", Kind::Haproxy { splice: true }, haproxy),
            product("nginx", Kind::Nginx, in_path("nginx")),
            product("caddy", Kind::Caddy, in_path("caddy")),
            product("direct", Kind::Direct, None),
        ]
    }

    /// Whether it can be started here.
    pub(crate) fn is_here(&self) -> bool {
        self.kind == Kind::Direct || self.program.is_some()
    }

    /// Whether it is measured at a layer, in one test at least.
    pub(crate) fn is_for(&self, layer: Layer) -> bool {
        match self.kind {
            Kind::Direct | Kind::Lb | Kind::Haproxy { splice: false } => true,
            Kind::Haproxy { splice: true } => layer == Layer::Tcp,
            Kind::Nginx | Kind::Caddy => layer == Layer::Http,
        }
    }

    /// Whether it is measured in one test.
    pub(crate) fn suits(&self, test: &Test) -> bool {
        match self.kind {
            Kind::Haproxy { splice: true } => test.is_tcp_bulk(),
            // How many listeners of the origin there are makes no difference to who talks to one.
            Kind::Direct => test.backends == crate::test::USUAL_BACKENDS,
            _ => self.is_for(test.layer()),
        }
    }

    /// Whether it is measured when idle.
    pub(crate) fn has_idle_costs(&self) -> bool {
        !matches!(self.kind, Kind::Direct | Kind::Haproxy { splice: true })
    }

    /// Whether it has processes of its own that only end when it is asked to, not when it is killed.
    pub(crate) fn ends_its_children(&self) -> bool {
        self.kind == Kind::Nginx
    }

    /// Arguments and input for a place.
    pub(crate) fn launch(&self, place: &Place<'_>) -> Launch {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match self.kind {
            Kind::Direct => Launch::default(),
            Kind::Lb => Launch { args: config::lb(place), ..Launch::default() },
            Kind::Haproxy { splice } => {
                let input = config::haproxy(place, splice);
                Launch { args: words(&["-db", "-f", "/dev/stdin"]), input, ..Launch::default() }
            }
            Kind::Nginx => {
                let folder = format!("{}/", place.folder.display());
                let args = words(&["-c", "/dev/stdin", "-e", "stderr", "-p", &folder]);
                Launch { args, input: config::nginx(place), ..Launch::default() }
            }
            Kind::Caddy => {
                let args = words(&["run", "--adapter", "caddyfile", "--config", "-"]);
                let home = ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"];
                let home = home.map(|name| (name, place.folder.display().to_string()));
                let threads = ("GOMAXPROCS", place.workers.to_string());
                Launch { args, input: config::caddy(place), environment: home.into_iter().chain([threads]).collect() }
            }
        }
    }
}

/// The program of that name; daemons are not always in the path of a plain user.
pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}
