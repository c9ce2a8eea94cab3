//! Where backends come from: a file, or a name.

use std::{fmt, io, net::IpAddr, path::Path, str::FromStr};

use lb_core::{BackendConfig, SpecError};

use super::DiscoverError;
use crate::resolve::{ResolveError, lookup, some};

/// A word that is no [`Source`].
/// ```
/// use lb_net::discover::NodeFile;
/// let error = "nodes.web".parse::<NodeFile>().unwrap_err();
/// assert_eq!(error.to_string(), "expected a whole path, which begins with '/'");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A path that means something else in another directory; a daemon's is `/`.
    #[error("expected a whole path, which begins with '/'")]
    Path,
    /// No `name[:port[:max[:weight]]]`.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A host that no name server knows.
    #[error("'{0}' is no host name: it has letters, digits and - . _")]
    Name(String),
    /// An address: nobody has to be asked for it.
    #[error("'{0}' is an address already: list it among the backends")]
    Address(String),
}

/// A file with a backend a line, by its whole path.
///
/// A line has `host[:port[:max[:weight]]]`, as balance writes it; blank lines are nothing, nor is what stands behind a
/// `#`. The same line again is nothing either: more weight is written as one. A file with a line that cannot be read is
/// refused as a whole, and so is one without any backend, or with more than 16 MiB.
/// ```
/// let file: lb_net::discover::NodeFile = "/etc/lb/nodes.web".parse()?;
/// let backends = file.parse(b"alpha:80 # here\n\nbeta::256\n")?;
/// assert_eq!(backends.iter().map(|backend| backend.name.as_str()).collect::<Vec<_>>(), ["alpha:80", "beta"]);
///
/// let error = file.parse(b"alpha\nbeta:http:many\n").unwrap_err();
/// assert_eq!(error.to_string(), "/etc/lb/nodes.web:2: beta:http:many: limit 'many' is not a number from 0 to 4294967295");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeFile(String);

/// A name with many addresses, each of which is a backend: `name[:port[:max[:weight]]]`, where the limit and the weight
/// are each backend's.
/// ```
/// let name: lb_net::discover::DnsName = "web.internal:8080:256".parse()?;
/// let backends = name.backends(&["::1".parse()?, "10.0.0.2".parse()?]);
/// assert_eq!(backends.map(|backend| backend.to_string()).collect::<Vec<_>>(), ["10.0.0.2:8080:256", "[::1]:8080:256"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName {
    host: String,
    port: Option<String>,
    limit: Option<u32>,
    weight: u16,
}

/// Where backends come from. Its text is the path, or the name as a backend is written.
/// ```
/// use lb_net::discover::Source;
/// assert!(matches!("/etc/lb/nodes.web".parse()?, Source::Nodes(_)));
/// assert!(matches!("web.internal:8080".parse()?, Source::Dns(_)));
/// # Ok::<(), lb_net::discover::SourceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Source {
    /// A node file.
    Nodes(NodeFile),
    /// A name that is asked for.
    Dns(DnsName),
}

impl NodeFile {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl FromStr for NodeFile {
    type Err = SourceError;
    fn from_str(word: &str) -> Result<Self, SourceError> {
        let whole = word.starts_with('/') && !word.contains(char::is_control);
        if whole { Ok(Self(word.to_owned())) } else { Err(SourceError::Path) }
    }
}

impl fmt::Display for NodeFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl DnsName {
    /// The name without the port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The backends that these addresses are, in an order that depends on nothing else: name servers shuffle theirs.
    pub fn backends(&self, ips: &[IpAddr]) -> impl Iterator<Item = BackendConfig> + use<> {
        let mut ips = ips.to_vec();
        ips.sort_unstable();
        ips.dedup();
        let own = self.clone();
        ips.into_iter().map(move |ip| own.backend(&if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }))
    }

    /// A backend at this host, which has brackets if it needs them.
    fn backend(&self, host: &str) -> BackendConfig {
        let name = self.port.as_ref().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let backend = BackendConfig::new(name).with_weight(self.weight);
        self.limit.map_or(backend.clone(), |limit| backend.with_limit(limit))
    }

    pub(super) fn answer(&self, answer: io::Result<Vec<IpAddr>>) -> Result<Vec<BackendConfig>, DiscoverError> {
        let ips = answer.and_then(some).map_err(|error| ResolveError::Host(self.host.clone(), error))?;
        Ok(self.backends(&ips).collect())
    }
}

impl FromStr for DnsName {
    type Err = SourceError;
    fn from_str(word: &str) -> Result<Self, SourceError> {
        let read: BackendConfig = word.parse()?;
        let (host, port) = read.host_and_port();
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        match host.parse::<IpAddr>() {
            Ok(_) => Err(SourceError::Address(host.to_owned())),
            Err(_) if host.len() < 254 && host.bytes().all(letter) && read.name.starts_with(host) => Ok(Self {
                host: host.to_owned(),
                port: port.map(str::to_owned),
                limit: read.limit,
                weight: read.weight,
            }),
            Err(_) => Err(SourceError::Name(host.to_owned())),
        }
    }
}

/// As it is parsed.
impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.backend(&self.host).fmt(f)
    }
}

impl Source {
    /// What backends there are at the moment. It blocks, for as long as the system takes.
    ///
    /// # Errors
    /// Why there is no good answer.
    pub fn look(&self) -> Result<Vec<BackendConfig>, DiscoverError> {
        match self {
            Self::Nodes(file) => file.read(),
            Self::Dns(name) => name.answer(lookup(name.host())),
        }
    }

    /// That it could not even be looked at.
    pub(super) fn unasked(&self, error: io::Error) -> DiscoverError {
        match self {
            Self::Nodes(file) => DiscoverError::Unreadable(file.clone(), error),
            Self::Dns(name) => ResolveError::Host(name.host.clone(), error).into(),
        }
    }

    /// Whether it may have backends without a port of their own.
    #[must_use]
    pub fn may_lack_ports(&self) -> bool {
        match self {
            Self::Nodes(_) => true,
            Self::Dns(name) => name.port.is_none(),
        }
    }
}

impl FromStr for Source {
    type Err = SourceError;
    fn from_str(word: &str) -> Result<Self, SourceError> {
        if word.starts_with('/') { word.parse().map(Self::Nodes) } else { word.parse().map(Self::Dns) }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes(file) => file.fmt(f),
            Self::Dns(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_nobody_can_be_asked_for_is_refused() {
        let error = |word: &str| word.parse::<DnsName>().unwrap_err();
        assert_eq!(error("10.0.0.1:80"), SourceError::Address("10.0.0.1".into()));
        assert_eq!(error("[::1]:80"), SourceError::Address("::1".into()));
        assert_eq!(error("[web]:80"), SourceError::Name("web".into()));
        assert_eq!(error("a/b:80"), SourceError::Name("a/b".into()));
        assert_eq!(error("web:80:many").to_string(), "web:80:many: limit 'many' is not a number from 0 to 4294967295");
        assert!(matches!(error(""), SourceError::Spec(_)));
    }

    #[test]
    fn the_same_addresses_are_the_same_backends_in_any_order() {
        let name: DnsName = "web:http::3".parse().unwrap();
        let ips = |all: &[&str]| all.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        let all = |some: &[&str]| name.backends(&ips(some)).collect::<Vec<_>>();
        assert_eq!(all(&["10.0.0.2", "::1", "10.0.0.1"]), all(&["::1", "10.0.0.1", "10.0.0.2", "::1"]));
        assert_eq!(all(&["::1"])[0].to_string(), "[::1]:http::3");
        assert!(name.answer(Ok(Vec::new())).is_err(), "no address is no answer");
    }

    proptest! {
        #[test]
        fn what_parses_prints_back(word in "/?[a-z:0-9.\\[\\]-]{0,20}|.{0,20}") {
            if let Ok(source) = word.parse::<Source>() {
                prop_assert_eq!(source.to_string().parse(), Ok(source));
            }
        }
    }
}
