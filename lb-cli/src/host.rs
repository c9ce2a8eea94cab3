//! What an instance cannot know: where its log is, which file it is from, how the process ends.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use lb_net::{
    config::{Listen, Model, Name, Service, Time},
    instance::{Attendant, News},
    manage::Place,
    probe::Answer,
    tcp::Observer,
};
use rustix::process::{Signal, getpid, kill_process};

use crate::{
    dumper::Dumper,
    file,
    log::{Entry, Level, Log},
    watch::Watch,
};

/// The program around one instance.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) log: Log,
    pub(crate) origin: Origin,
    /// Payload goes there.
    pub(crate) dumper: Option<Arc<Dumper>>,
    traces: AtomicBool,
}

/// Where it is said what is served.
#[derive(Debug)]
pub(crate) enum Origin {
    /// In a configuration file.
    File {
        /// From the root on: in the background we are elsewhere.
        path: PathBuf,
        in_background: bool,
    },
    /// On a command line: there is one service, which needs no name.
    CommandLine {
        /// The groups as they were typed.
        words: Vec<String>,
        /// The socket that `-i` and `-c` use.
        control: Place,
    },
}

impl Origin {
    /// The file, if it is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::File { path, .. } => Some(path),
            Self::CommandLine { .. } => None,
        }
    }
}

impl Host {
    pub(crate) fn new(log: Log, origin: Origin, dumper: Option<Arc<Dumper>>) -> Self {
        Self { log, origin, dumper, traces: AtomicBool::new(false) }
    }

    /// The log of one of several pools or services.
    fn log_of(&self, kind: &'static str, name: &Name) -> Log {
        if self.origin.file().is_some() { self.log.of(kind, name.as_str()) } else { self.log.clone() }
    }

    /// All of it: who has sent a signal learns it from the log alone.
    fn tell_of_reload(&self, reloaded: Result<&str, &str>) {
        let write = |level, event, line: &str| self.log.write(&Entry::new(level, event, line).whole());
        match reloaded {
            Ok(changes) => {
                let count = match changes.lines().count() {
                    0 => "nothing has changed".to_owned(),
                    1 => "1 change".to_owned(),
                    count => format!("{count} changes"),
                };
                write(Level::Notice, "reloaded", &format!("reloaded: {count}"));
                changes.lines().for_each(|line| write(Level::Notice, "changed-by-reload", line));
            }
            Err(why) => {
                write(Level::Error, "reload-failed", "not reloaded, everything stays as it is");
                // What is indented shows the place in the file.
                let lines = why.lines().filter(|line| !line.starts_with(' '));
                lines.for_each(|line| write(Level::Error, "reload-failed", line));
            }
        }
    }
}

impl Attendant for Host {
    fn tell(&self, news: &News<'_>) {
        let service =
            |service, level, event| (self.log_of("service", service), Entry::new(level, event, news.to_string()));
        let (log, entry) = match news {
            News::Pool { pool, event } => (self.log_of("pool", pool), Entry::from(*event)),
            News::Checked { pool, finding } => {
                let line = |verb| format!("{}: {verb}: {}", finding.backend, finding.reason);
                let entry = if matches!(finding.answer, Answer::Inconclusive(_)) {
                    let entry = Entry::new(Level::Warning, "check-inconclusive", line("not checked"));
                    entry.with("backend", finding.backend.as_str()).with("reason", finding.reason.as_str())
                } else if self.traces.load(Relaxed) {
                    Entry::new(Level::Debug, "checked", line("checked"))
                } else {
                    return;
                };
                (self.log_of("pool", pool), entry)
            }
            News::Resolved(news) => (self.log.clone(), Entry::from(*news)),
            News::Discovered(news) => (self.log.clone(), Entry::from(*news)),
            News::Listening { service: name, address, size } => {
                let (log, entry) = service(name, Level::Notice, "ready");
                let entry = entry.with("address", address.to_string()).with("backends", size.backends);
                let entry = entry.with("groups", size.groups).with("pid", std::process::id());
                (log, entry.with("version", env!("CARGO_PKG_VERSION")))
            }
            News::Closing { service: name, address } => {
                let (log, entry) = service(name, Level::Notice, "closing");
                (log, entry.with("address", address.to_string()))
            }
            News::Closed { service: name, address, cut } => {
                let level = if *cut == 0 { Level::Notice } else { Level::Warning };
                let (log, entry) = service(name, level, "closed");
                (log, entry.with("address", address.to_string()).with("cut", *cut))
            }
            News::Uncontrolled { service: name, .. } => service(name, Level::Warning, "uncontrolled"),
            News::AccessLog(_) => (self.log.clone(), Entry::new(Level::Warning, "access-log", news.to_string())),
            News::TokenExposed(_) => (self.log.clone(), Entry::new(Level::Warning, "token-exposed", news.to_string())),
            News::ControlListening(address) => {
                let entry = Entry::new(Level::Notice, "control-ready", news.to_string());
                (self.log.clone(), entry.with("address", address.to_string()))
            }
            News::Reloaded(reloaded) => return self.tell_of_reload(*reloaded),
            News::ControlFailed(_) => (self.log.clone(), Entry::new(Level::Error, "control-failed", news.to_string())),
            _ => (self.log.clone(), Entry::new(Level::Notice, "news", news.to_string())),
        };
        log.write(&entry);
    }

    fn observer(&self, name: &Name, service: &Service) -> Option<Arc<dyn Observer>> {
        Some(Arc::new(Watch {
            log: self.log_of("service", name),
            traces: self.traces.load(Relaxed),
            idle_timeout: service.sessions().idle_timeout.map_or(Duration::ZERO, Time::get),
            dumper: self.dumper.clone(),
        }))
    }

    fn applied(&self, model: &Model) {
        self.traces.store(model.log().trace, Relaxed);
    }

    fn load(&self) -> Result<Model, String> {
        let Origin::File { path, in_background } = &self.origin else {
            return Err("this lb was started from a command line: there is no file to load".to_owned());
        };
        let loaded = file::read_again(path).map_err(|trouble| trouble.text(path))?;
        file::serveable(path, &loaded.model, *in_background).map_err(|failure| failure.to_string())?;
        file::warn(path, &loaded, &self.log);
        Ok(loaded.model)
    }

    fn permanence(&self) -> Option<String> {
        let path = self.origin.file()?.display();
        Some(format!("a reload keeps this until {path} says something new about it, a restart does not"))
    }

    fn control_place(&self, _: &Listen) -> Option<Place> {
        match &self.origin {
            Origin::File { .. } => None,
            Origin::CommandLine { control, .. } => Some(control.clone()),
        }
    }

    fn kill(&self) {
        // As balance does, and everything else that TERM does follows. To oneself it cannot fail.
        let _ = kill_process(getpid(), Signal::TERM);
    }
}
