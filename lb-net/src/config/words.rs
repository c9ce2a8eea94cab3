//! Words of a configuration that are more than text: names, places to listen, users, directories.

use std::{
    fmt,
    net::IpAddr,
    num::{NonZeroU16, NonZeroUsize},
    str::FromStr,
};

use std::net::Ipv6Addr;

/// Why a word of a configuration is none; the text says what was expected.
/// ```
/// let error = "a b".parse::<lb_net::config::Name>().unwrap_err();
/// assert_eq!(error.to_string(), "expected a name of 1 to 64 letters, digits and _ - .");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct WordError(&'static str);

/// The name of a pool or service: 1 to 64 ASCII letters, digits and `_ - .`.
/// ```
/// let name: lb_net::config::Name = "web-1".parse()?;
/// assert_eq!(name.as_str(), "web-1");
/// # Ok::<(), lb_net::config::WordError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = WordError;
    fn from_str(word: &str) -> Result<Self, WordError> {
        let plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        let fits = plain && (1..=64).contains(&word.len());
        fits.then(|| Self(word.to_owned())).ok_or(WordError("a name of 1 to 64 letters, digits and _ - ."))
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Where a service listens: `80` on all addresses of both families, `127.0.0.1:80`, `[::1]:80`, `localhost:80`.
/// ```
/// use lb_net::config::Listen;
/// let listen: Listen = "[::1]:80".parse()?;
/// assert_eq!((listen.host(), listen.port()), (Some("::1"), 80));
/// # Ok::<(), lb_net::config::WordError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listen {
    host: Option<String>,
    port: NonZeroU16,
}

impl Listen {
    /// The address or host name, without brackets; `None` for all addresses.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.get()
    }

    /// Whether both want a port of one address. What host names stand for is not known here.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let ip = |listen: &Self| listen.host().map_or(Some(Ipv6Addr::UNSPECIFIED.into()), |host| host.parse().ok());
        let everywhere = |ip: IpAddr| ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let meets = |one: IpAddr, other: IpAddr| {
            everywhere(one) || one == other || (one.is_unspecified() && one.is_ipv4() == other.is_ipv4())
        };
        // Before anything is parsed: there may be many.
        if self.port != other.port {
            return false;
        }
        let clash = ip(self).zip(ip(other)).is_some_and(|(one, two)| meets(one, two) || meets(two, one));
        self.host == other.host || clash
    }
}

impl FromStr for Listen {
    type Err = WordError;
    fn from_str(word: &str) -> Result<Self, WordError> {
        let error = WordError("a port or address:port, such as 80, \"127.0.0.1:80\" or \"[::1]:80\"");
        let (host, port) = word.rsplit_once(':').map_or((None, word), |(host, port)| (Some(host), port));
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or_else(|| error.clone())?;
        let host = match host {
            None | Some("*") => None,
            Some(host) => Some(bare(host).ok_or(error)?),
        };
        Ok(Self { host, port })
    }
}

/// A host without brackets, if it is one: an IPv6 address has them, nothing else does.
fn bare(host: &str) -> Option<String> {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(|v6| v6.to_string()),
        None => {
            let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            (!host.is_empty() && host.len() < 254 && host.bytes().all(letter)).then(|| host.to_owned())
        }
    }
}

/// As it is parsed.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host() {
            None => write!(f, "{}", self.port),
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
        }
    }
}

/// `USER[:GROUP]` as it was written, names or numbers; whether they exist is asked later.
/// ```
/// let user: lb_net::config::UserName = "www-data:adm".parse()?;
/// assert_eq!((user.user(), user.group()), ("www-data", Some("adm")));
/// # Ok::<(), lb_net::config::UserNameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName {
    user: String,
    group: Option<String>,
}

/// A word that is no [`UserName`].
/// ```
/// assert_eq!(":".parse::<lb_net::config::UserName>().unwrap_err().to_string(), "not USER or USER:GROUP");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not USER or USER:GROUP")]
pub struct UserNameError;

impl UserName {
    /// The user.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The group, if another than the user's own was named.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }
}

impl FromStr for UserName {
    type Err = UserNameError;
    fn from_str(word: &str) -> Result<Self, UserNameError> {
        let (user, group) = word.split_once(':').map_or((word, None), |(user, group)| (user, Some(group)));
        if user.is_empty() || group.is_some_and(|group| group.is_empty() || group.contains(':')) {
            return Err(UserNameError);
        }
        Ok(Self { user: user.to_owned(), group: group.map(str::to_owned) })
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.user)?;
        self.group.iter().try_for_each(|group| write!(f, ":{group}"))
    }
}

/// A directory by its whole path.
/// ```
/// use lb_net::config::Directory;
/// assert_eq!("/run/lb".parse::<Directory>()?.as_str(), "/run/lb");
/// assert!("run".parse::<Directory>().is_err());
/// # Ok::<(), lb_net::config::WordError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory(String);

impl Directory {
    /// Its path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Directory {
    type Err = WordError;
    fn from_str(word: &str) -> Result<Self, WordError> {
        let whole = word.starts_with('/') && !word.contains(char::is_control);
        whole.then(|| Self(word.to_owned())).ok_or(WordError("a path that begins with '/'"))
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// How many worker threads: 1 to 1024.
/// ```
/// use lb_net::config::Workers;
/// assert_eq!(Workers::new(4).map(|workers| workers.get().get()), Some(4));
/// assert!(Workers::new(0).is_none() && Workers::new(1025).is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers(NonZeroUsize);

impl Workers {
    /// This number, if it is from 1 to 1024.
    #[must_use]
    pub fn new(number: usize) -> Option<Self> {
        NonZeroUsize::new(number).filter(|number| number.get() <= 1024).map(Self)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> NonZeroUsize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn listen(word: &str) -> Listen {
        word.parse().unwrap()
    }

    #[test]
    fn a_place_to_listen_prints_back() {
        for word in ["80", "127.0.0.1:80", "[::1]:8080", "localhost:1", "[::]:80"] {
            assert_eq!(listen(word).to_string(), word);
        }
        assert_eq!(listen("*:80"), listen("80"));
        for word in ["", "0", "+80", "70000", "http", ":80", "::1", "::1:80", "[::1]", "[x]:80", "a b:80", "a:b:80"] {
            assert!(word.parse::<Listen>().is_err(), "{word}");
        }
    }

    #[test]
    fn all_addresses_are_each_of_them() {
        let overlap = |one, other| listen(one).overlaps(&listen(other)) && listen(other).overlaps(&listen(one));
        assert!(overlap("80", "127.0.0.1:80") && overlap("80", "[::1]:80") && overlap("0.0.0.0:80", "127.0.0.1:80"));
        assert!(overlap("a:80", "a:80") && overlap("[::]:80", "10.0.0.1:80"));
        assert!(!overlap("80", "81") && !overlap("0.0.0.0:80", "[::1]:80") && !overlap("127.0.0.1:80", "127.0.0.2:80"));
    }

    #[test]
    fn a_user_is_a_name_with_or_without_a_group() {
        let user = |word: &str| word.parse::<UserName>().map(|name| (name.user, name.group));
        assert_eq!(user("www"), Ok(("www".to_owned(), None)));
        assert_eq!(user("33:nogroup"), Ok(("33".to_owned(), Some("nogroup".to_owned()))));
        for wrong in ["", ":", ":g", "u:", "u:g:x"] {
            assert!(user(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_prints_back(word in "[a-z0-9:.*\\[\\]]{0,20}|.{0,20}") {
            if let Ok(listen) = word.parse::<Listen>() {
                prop_assert_eq!(listen.to_string().parse(), Ok(listen));
            }
            if let Ok(user) = word.parse::<UserName>() {
                prop_assert_eq!(user.to_string(), word.clone());
            }
            let _ = (word.parse::<Name>(), word.parse::<Directory>());
        }
    }
}
