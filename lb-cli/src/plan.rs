//! What a command line means: checked, with names looked up, before anything is served.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
};

use lb_core::{BackendConfig, Config, SelectorKind, SpecError, health::Eject};
use lb_net::{
    config::Model,
    probe::MonitorSpec,
    resolve::{self, Endpoint, ResolveError},
};

use crate::{
    args::{Balance, address},
    failure::{Failure, Status},
    listen::Place,
    model::{Understood, model},
    user::Identity,
};

/// Everything that can be known before a socket is made.
#[derive(Debug)]
pub(crate) struct Plan {
    /// All that is asked for, as a configuration file would say it.
    pub(crate) model: Model,
    /// Of `lb`, and of backends that have none of their own.
    pub(crate) port: u16,
    /// The groups and policies.
    pub(crate) config: Config,
    pub(crate) user: Option<Identity>,
}

impl Plan {
    /// # Errors
    /// What cannot be understood, is unknown, or may not be done.
    pub(crate) fn new(args: &Balance) -> Result<Self, Failure> {
        let port = resolve::port(&args.port).map_err(|error| {
            Failure::chain(Status::Usage, &error)
                .with_remedy("first comes the port to listen on: lb [options] PORT backend...")
        })?;
        let monitor = args.monitor.as_deref().map(monitoring).transpose()?;
        let config = configuration(args, monitor.as_ref())?;
        let source = args.source.as_deref().map(source).transpose().map_err(|failure| failure.about("-B"))?;
        let user = args.user.as_ref().map(|user| Identity::find(user, "--user")).transpose()?;
        let place = Place::new(args, port)?;
        let understood = Understood { place, port, config: &config, monitor: monitor.as_ref(), source };
        let model = model(args, &understood)?;
        Ok(Self { model, config, user, port })
    }

    /// Where each backend is, in the order of the configuration. It may block, while the system asks for a name.
    ///
    /// # Errors
    /// When that is not known.
    pub(crate) fn endpoints(&self, words: &[String]) -> Result<Vec<Endpoint>, Failure> {
        let known = |(_, _, backend): (_, _, &BackendConfig)| {
            endpoint(backend, self.port).map_err(|error| unresolved(&backend.name, &error, words))
        };
        self.config.backends().map(known).collect()
    }
}

fn monitoring(text: &str) -> Result<MonitorSpec, Failure> {
    text.parse().map_err(|error| Failure::chain(Status::Groups, &error).about("-m"))
}

fn endpoint(backend: &BackendConfig, default_port: u16) -> Result<Endpoint, ResolveError> {
    let (host, port) = backend.host_and_port();
    Endpoint::new(host, port.map_or(Ok(default_port), resolve::port)?)
}

/// A backend without an address; what is wrong is said of the word that was typed.
pub(crate) fn unresolved(backend: &str, error: &ResolveError, words: &[String]) -> Failure {
    let word = words.iter().find(|word| word.parse().is_ok_and(|one: BackendConfig| one.name == backend));
    let failure = Failure::chain(Status::Backend, error).about(backend);
    word.map_or(failure.clone(), |word| bracketed(failure, word))
}

/// An address to connect from; that it is one of this machine shows when it is bound to.
fn source(word: &str) -> Result<IpAddr, Failure> {
    let address = address(word, false)?;
    usable_source(address, word).map(|()| address)
}

/// Whether it is an address of this machine.
fn usable_source(address: IpAddr, word: &str) -> Result<(), Failure> {
    let bound = std::net::UdpSocket::bind((address, 0));
    bound.map_err(|error| Failure::chain(Status::System, &error).about(word)).map(|_| ())
}

fn configuration(args: &Balance, monitor: Option<&MonitorSpec>) -> Result<Config, Failure> {
    let mut config = Config::from_words(args.words.iter().map(String::as_str)).map_err(|error| {
        let status = if matches!(error, SpecError::EmptyGroup(..)) { Status::Groups } else { Status::Backend };
        let failure = Failure::chain(status, &error);
        match &error {
            SpecError::Port(word, _) | SpecError::Limit(word, _) | SpecError::Weight(word, _) => {
                bracketed(failure, word)
            }
            SpecError::Excess(word, _) => bracketed(failure, word),
            _ => failure,
        }
    })?;
    for group in &mut config.groups {
        let hashes = matches!(group.selector, SelectorKind::Hash { .. });
        group.selector = if hashes { SelectorKind::Hash { spill: args.hash_failover } } else { args.selector() };
    }
    if let Some(spec) = monitor {
        config = config.with_probes(spec.policy());
    }
    Ok(match args.autodisable_for {
        Some(time) => {
            let once = Eject::default().with_connect_failures(NonZeroU32::MIN);
            config.with_ejection(once.with_periods(time, time).with_most_percent(100))
        }
        None if args.autodisable => config.with_autodisable(),
        None => config,
    })
}

/// With the remedy for an IPv6 address that was taken for a host with port, limit and weight.
fn bracketed(failure: Failure, word: &str) -> Failure {
    match word.parse::<Ipv6Addr>() {
        Ok(_) => failure.with_remedy(&format!("an IPv6 address goes in brackets: [{word}]")),
        Err(_) => failure,
    }
}
