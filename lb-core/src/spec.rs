//! balance's way to write a configuration: `host:port:max:weight ... ! ... %`, and back.

use std::{fmt, str::FromStr};

use crate::{BackendConfig, Config, GroupConfig, SelectorKind, Start};

/// What is wrong with a specification; each names the word as it was written.
/// ```
/// use lb_core::{Config, SpecError};
/// let error = "alpha:80:many".parse::<Config>().unwrap_err();
/// assert_eq!(error, SpecError::Limit("alpha:80:many".into(), "many".into()));
/// assert_eq!(error.to_string(), "alpha:80:many: limit 'many' is not a number from 0 to 4294967295");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// A separator without a backend before it. The number is the group's, from 0.
    #[error("group {0} is empty: name a backend before '{1}'")]
    EmptyGroup(usize, String),
    /// A word without a host.
    #[error("{0}: no host in it: a backend is host[:port[:max[:weight]]], an IPv6 address goes in brackets")]
    Host(String),
    /// A port that is neither a number from 1 to 65535 nor a service's name.
    #[error("{0}: port '{1}' is neither a number from 1 to 65535 nor the name of a service")]
    Port(String, String),
    /// A limit that is no number.
    #[error("{0}: limit '{1}' is not a number from 0 to 4294967295")]
    Limit(String, String),
    /// A weight that is none.
    #[error("{0}: weight '{1}' is not a number from 0 to 65535")]
    Weight(String, String),
    /// Something after the weight.
    #[error("{0}: '{1}' is one part too many: a backend is host[:port[:max[:weight]]]")]
    Excess(String, String),
}

impl Config {
    /// The groups that these words say: backends in order, `!` between groups, `%` behind a group that hashes.
    ///
    /// A separator may be last. A `!` right behind `%` belongs to it. Turns begin at the first backend, as balance's do.
    ///
    /// # Errors
    /// The first word that cannot be understood.
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, SpecError> {
        let mut groups: Vec<GroupConfig> = Vec::new();
        let mut open = GroupConfig::default();
        let mut hashed_before = false;
        for word in words {
            let after_hash = std::mem::replace(&mut hashed_before, word == "%");
            match word {
                "!" if after_hash => {}
                "!" | "%" if open.backends.is_empty() => {
                    return Err(SpecError::EmptyGroup(groups.len(), word.to_owned()));
                }
                "!" => groups.push(std::mem::take(&mut open)),
                "%" => groups.push(std::mem::take(&mut open).with_selector(SelectorKind::Hash { spill: false })),
                _ => open.backends.push(word.parse()?),
            }
        }
        if !open.backends.is_empty() {
            groups.push(open);
        }
        Ok(Self { groups, start: Start::First, ..Self::default() })
    }
}

impl FromStr for Config {
    type Err = SpecError;
    fn from_str(text: &str) -> Result<Self, SpecError> {
        Self::from_words(text.split_whitespace())
    }
}

/// In balance's words. What they cannot say is left out: selectors other than round robin and hash, policies, status.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for group in &self.groups {
            f.write_str(between)?;
            let words: Vec<String> = group.backends.iter().map(ToString::to_string).collect();
            f.write_str(&words.join(" "))?;
            let hashes = matches!(group.selector, SelectorKind::Hash { .. });
            between = if hashes { " " } else { " ! " };
            f.write_str(if hashes { " %" } else { "" })?;
        }
        Ok(())
    }
}

/// `host[:port[:max[:weight]]]`, parts may be empty; a max of 0 is none, as in balance.
impl FromStr for BackendConfig {
    type Err = SpecError;
    fn from_str(word: &str) -> Result<Self, SpecError> {
        let (host, rest) = split_host(word).ok_or_else(|| SpecError::Host(word.to_owned()))?;
        let mut parts = rest.split(':').skip(1);
        let mut part = || parts.next().filter(|part| !part.is_empty());
        let (port, limit, weight) = (part(), part(), part());
        if let Some(excess) = parts.next() {
            return Err(SpecError::Excess(word.to_owned(), excess.to_owned()));
        }
        let name = match port {
            Some(port) if is_port(port) => format!("{host}:{port}"),
            Some(port) => return Err(SpecError::Port(word.to_owned(), port.to_owned())),
            None => host.to_owned(),
        };
        let number = |text: &str| text.parse().map_err(|_| SpecError::Limit(word.to_owned(), text.to_owned()));
        let limit: Option<u32> = limit.map(number).transpose()?.filter(|limit| *limit > 0);
        let number = |text: &str| text.parse().map_err(|_| SpecError::Weight(word.to_owned(), text.to_owned()));
        let weight = weight.map(number).transpose()?.unwrap_or(1);
        Ok(Self { limit, weight, ..Self::new(name) })
    }
}

impl fmt::Display for BackendConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.limit.is_none() && self.weight == 1 {
            return Ok(());
        }
        f.write_str(if self.host_and_port().1.is_none() { "::" } else { ":" })?;
        self.limit.iter().try_for_each(|limit| write!(f, "{limit}"))?;
        if self.weight == 1 { Ok(()) } else { write!(f, ":{}", self.weight) }
    }
}

impl BackendConfig {
    /// The parts of a name that was written as `host[:port]`: the host without brackets, and the port's number or
    /// service name.
    /// ```
    /// use lb_core::BackendConfig;
    /// assert_eq!(BackendConfig::new("[::1]:80").host_and_port(), ("::1", Some("80")));
    /// assert_eq!(BackendConfig::new("alpha").host_and_port(), ("alpha", None));
    /// ```
    #[must_use]
    pub fn host_and_port(&self) -> (&str, Option<&str>) {
        let Some((host, rest)) = split_host(&self.name) else { return (&self.name, None) };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        (bare, rest.strip_prefix(':').filter(|port| !port.is_empty()))
    }
}

/// The host, brackets included, and what follows it: nothing, or something that begins with a colon.
fn split_host(word: &str) -> Option<(&str, &str)> {
    let end = if word.starts_with('[') { word.find(']')? + 1 } else { word.find(':').unwrap_or(word.len()) };
    let (host, rest) = word.split_at(end);
    let named = !["", "[]", "!", "%"].contains(&host) && !host.chars().any(|c| c.is_whitespace() || c.is_control());
    (named && (rest.is_empty() || rest.starts_with(':'))).then_some((host, rest))
}

fn is_port(word: &str) -> bool {
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        return word.parse::<u16>().is_ok_and(|port| port > 0);
    }
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+*/".contains(&byte))
        && word.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !word.starts_with(['-', '+', '/'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_of_a_backend_parses_and_prints_back() {
        let rows = [
            ("alpha", "alpha", None, 1, "alpha"),
            ("alpha:", "alpha", None, 1, "alpha"),
            ("alpha::256", "alpha", Some(256), 1, "alpha::256"),
            ("alpha:80", "alpha:80", None, 1, "alpha:80"),
            ("alpha:http:7", "alpha:http", Some(7), 1, "alpha:http:7"),
            ("alpha:80:0", "alpha:80", None, 1, "alpha:80"),
            ("alpha:::3", "alpha", None, 3, "alpha:::3"),
            ("alpha:80::0", "alpha:80", None, 0, "alpha:80::0"),
            ("[2001:db8::1]:80:5:65535", "[2001:db8::1]:80", Some(5), 65535, "[2001:db8::1]:80:5:65535"),
            ("[::1]", "[::1]", None, 1, "[::1]"),
            ("[::1]::5", "[::1]", Some(5), 1, "[::1]::5"),
        ];
        for (word, name, limit, weight, printed) in rows {
            let backend: BackendConfig = word.parse().unwrap();
            assert_eq!((backend.name.as_str(), backend.limit, backend.weight), (name, limit, weight), "{word}");
            assert_eq!(backend.to_string(), printed);
        }
    }

    #[test]
    fn groups_parse_and_print_back() {
        for text in ["alpha::256 ! beta::64 ! spare", "a b % c ! d", "a b %", "a", "", "a % b % c %"] {
            assert_eq!(text.parse::<Config>().unwrap().to_string(), text);
        }
        let same = |one: &str, other: &str| assert_eq!(one.parse::<Config>(), other.parse::<Config>());
        same("a !", "a");
        same("a b % ! c::64 ! d", "a b % c::64 ! d");
    }

    #[test]
    fn a_wrong_word_is_named_as_written() {
        let error = |text: &str| text.parse::<Config>().unwrap_err();
        assert_eq!(error("a ! ! b"), SpecError::EmptyGroup(1, "!".into()));
        assert_eq!(error("! b"), SpecError::EmptyGroup(0, "!".into()));
        assert_eq!(error("a % % b"), SpecError::EmptyGroup(1, "%".into()));
        assert_eq!(error("a % ! ! b"), SpecError::EmptyGroup(1, "!".into()));
        assert_eq!(error("a ::1"), SpecError::Host("::1".into()));
        assert_eq!(error("[::1"), SpecError::Host("[::1".into()));
        assert_eq!(error("[::1]80"), SpecError::Host("[::1]80".into()));
        assert_eq!(error("a:70000"), SpecError::Port("a:70000".into(), "70000".into()));
        assert_eq!(error("a:0"), SpecError::Port("a:0".into(), "0".into()));
        assert_eq!(error("a:-1"), SpecError::Port("a:-1".into(), "-1".into()));
        assert_eq!(error("a:80:-1"), SpecError::Limit("a:80:-1".into(), "-1".into()));
        assert_eq!(error("a:80:5:70000"), SpecError::Weight("a:80:5:70000".into(), "70000".into()));
        assert_eq!(error("a:80:5:1:"), SpecError::Excess("a:80:5:1:".into(), String::new()));
    }

    proptest! {
        #[test]
        fn no_input_panics_and_what_parses_prints_back(text in "[ab1:!%\\[\\] \\-0-9]{0,40}|.{0,40}") {
            if let Ok(config) = text.parse::<Config>() {
                prop_assert_eq!(config.to_string().parse::<Config>(), Ok(config));
            }
        }
    }
}
