//! The words of a command: balance's names, which any prefix of them calls, and those that balance does not have.

use std::{fmt, net::IpAddr};

/// One command as it was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Quit,
    Show,
    ShowJson,
    Help,
    Kill,
    Monitor(Monitor),
    Disable(Number<'a>),
    Group(Number<'a>),
    Reset(Number<'a>),
    Enable(Number<'a>),
    Create { host: &'a str, port: &'a str },
    Assign { channel: Number<'a>, host: &'a str, port: &'a str },
    MaxConnections { channel: Number<'a>, limit: u32 },
    MrtgBytes { group: Number<'a>, channel: Number<'a> },
    MrtgConnections { group: Number<'a>, channel: Number<'a> },
    Version,
    Hash,
    RoundRobin,
    Drain(Number<'a>),
    Weight { channel: Number<'a>, weight: u16 },
    Explain(IpAddr),
    Reload,
    Difference,
    Dump,
    DumpLoaded,
    Services,
}

/// What `monitor` is followed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Monitor {
    Show,
    Enable,
    Disable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Quit,
    Show,
    Help,
    Kill,
    Monitor,
    Disable,
    Group,
    Reset,
    Enable,
    Create,
    Assign,
    MaxConnections,
    MrtgBytes,
    MrtgConnections,
    Version,
    Hash,
    RoundRobin,
    Drain,
    Weight,
    Explain,
    Reload,
    Difference,
    Dump,
    Services,
}

/// The first that a typed word is a prefix of is meant. The order is balance's; what balance does not have comes behind
/// it, so that no prefix changes its meaning.
const NAMES: [(&str, Name); 25] = [
    ("quit", Name::Quit),
    ("show", Name::Show),
    ("help", Name::Help),
    ("?", Name::Help),
    ("kill", Name::Kill),
    ("monitor", Name::Monitor),
    ("disable", Name::Disable),
    ("group", Name::Group),
    ("reset", Name::Reset),
    ("enable", Name::Enable),
    ("create", Name::Create),
    ("assign", Name::Assign),
    ("maxc", Name::MaxConnections),
    ("mrtg-bytes", Name::MrtgBytes),
    ("mrtg-conns", Name::MrtgConnections),
    ("version", Name::Version),
    ("hash", Name::Hash),
    ("rr", Name::RoundRobin),
    ("drain", Name::Drain),
    ("weight", Name::Weight),
    ("explain", Name::Explain),
    ("reload", Name::Reload),
    ("diff", Name::Difference),
    ("dump", Name::Dump),
    ("services", Name::Services),
];

const MONITOR_WORDS: [(&str, Monitor); 3] =
    [("show", Monitor::Show), ("enable", Monitor::Enable), ("disable", Monitor::Disable)];

/// What balance says of everything that it does not understand.
const SYNTAX_ERROR: &str = "syntax error";

/// A channel's or a group's number. One that is too large for any, or negative, is a number still: there is none such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number<'a> {
    pub(super) value: Option<usize>,
    word: &'a str,
}

impl fmt::Display for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Some(value) => value.fmt(f),
            None => f.write_str(self.word),
        }
    }
}

impl<'a> Command<'a> {
    /// The command of one line; nothing when it is blank.
    ///
    /// # Errors
    /// What to say of it.
    pub(super) fn parse(line: &'a str) -> Result<Option<Self>, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some((first, rest)) = words.split_first() else { return Ok(None) };
        let name = meant(&NAMES, first).ok_or(SYNTAX_ERROR)?;
        let command = match (name, rest) {
            (Name::Quit, []) => Self::Quit,
            (Name::Show, []) => Self::Show,
            (Name::Show, [form]) if "json".starts_with(form) => Self::ShowJson,
            (Name::Help, []) => Self::Help,
            (Name::Kill, []) => Self::Kill,
            (Name::Monitor, [order]) => Self::Monitor(meant(&MONITOR_WORDS, order).ok_or(SYNTAX_ERROR)?),
            (Name::Version, []) => Self::Version,
            (Name::Hash, []) => Self::Hash,
            (Name::RoundRobin, []) => Self::RoundRobin,
            (Name::Explain, [client]) => Self::Explain(address(client)?),
            (Name::Reload, []) => Self::Reload,
            (Name::Difference, []) => Self::Difference,
            (Name::Dump, []) => Self::Dump,
            (Name::Dump, [which]) if "loaded".starts_with(which) => Self::DumpLoaded,
            (Name::Services, []) => Self::Services,
            _ => Self::of_numbers(name, rest)?,
        };
        Ok(Some(command))
    }

    /// Whether a group that nobody has used yet is there afterwards.
    pub(super) fn begins_group(&self) -> bool {
        matches!(self, Self::Create { .. } | Self::Hash | Self::RoundRobin)
    }

    /// The commands that are about a channel or a group.
    fn of_numbers(name: Name, rest: &[&'a str]) -> Result<Self, String> {
        Ok(match (name, rest) {
            (Name::Disable, [n]) => Self::Disable(channel(n)?),
            (Name::Group, [n]) => Self::Group(group(n)?),
            (Name::Reset, [n]) => Self::Reset(channel(n)?),
            (Name::Enable, [n]) => Self::Enable(channel(n)?),
            (Name::Create, [host, port]) => Self::Create { host, port },
            (Name::Assign, [n, host, port]) => Self::Assign { channel: channel(n)?, host, port },
            (Name::MaxConnections, [n, limit]) => {
                Self::MaxConnections { channel: channel(n)?, limit: bounded(limit, u32::MAX)? }
            }
            (Name::MrtgBytes, [g, n]) => Self::MrtgBytes { group: group(g)?, channel: channel(n)? },
            (Name::MrtgConnections, [g, n]) => Self::MrtgConnections { group: group(g)?, channel: channel(n)? },
            (Name::Drain, [n]) => Self::Drain(channel(n)?),
            (Name::Weight, [n, weight]) => Self::Weight { channel: channel(n)?, weight: bounded(weight, u16::MAX)? },
            _ => return Err(SYNTAX_ERROR.to_owned()),
        })
    }
}

/// Whether the command of this line, well formed or not, names the group of those after it.
pub(super) fn is_group(line: &str) -> bool {
    line.split_whitespace().next().and_then(|first| meant(&NAMES, first)) == Some(Name::Group)
}

fn meant<T: Copy>(names: &[(&str, T)], word: &str) -> Option<T> {
    names.iter().find(|(name, _)| name.starts_with(word)).map(|(_, meaning)| *meaning)
}

fn channel(word: &str) -> Result<Number<'_>, String> {
    number(word).ok_or_else(|| format!("'{}' is not the number of a channel", printable(word)))
}

fn group(word: &str) -> Result<Number<'_>, String> {
    number(word).ok_or_else(|| format!("'{}' is not the number of a group", printable(word)))
}

/// The number that a word is, of a channel or a group.
pub(super) fn number(word: &str) -> Option<Number<'_>> {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Number { value: word.parse().ok(), word })
}

fn bounded<N: std::str::FromStr + fmt::Display + Copy>(word: &str, most: N) -> Result<N, String> {
    // `parse` takes a plus sign.
    let value = word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok()).flatten();
    value.ok_or_else(|| format!("'{}' is not a number from 0 to {most}", printable(word)))
}

pub(super) fn address(word: &str) -> Result<IpAddr, String> {
    let bare = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
    bare.parse().map_err(|_| format!("'{}' is not the address of a client, 192.0.2.7 or 2001:db8::7", printable(word)))
}

/// A word as it can be shown on a terminal, and not longer than a line.
pub(super) fn printable(word: &str) -> String {
    crate::printable::printable(word, 60)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// balance's commands with the shortest word that means each, from which every longer prefix follows.
    const SHORTEST: [(&str, usize, Name); 25] = [
        ("quit", 1, Name::Quit),
        ("show", 1, Name::Show),
        ("help", 1, Name::Help),
        ("?", 1, Name::Help),
        ("kill", 1, Name::Kill),
        ("monitor", 1, Name::Monitor),
        ("disable", 1, Name::Disable),
        ("group", 1, Name::Group),
        ("reset", 1, Name::Reset),
        ("enable", 1, Name::Enable),
        ("create", 1, Name::Create),
        ("assign", 1, Name::Assign),
        ("maxc", 2, Name::MaxConnections),
        ("mrtg-bytes", 2, Name::MrtgBytes),
        ("mrtg-conns", 6, Name::MrtgConnections),
        ("version", 1, Name::Version),
        ("hash", 2, Name::Hash),
        ("rr", 2, Name::RoundRobin),
        ("drain", 2, Name::Drain),
        ("weight", 1, Name::Weight),
        ("explain", 2, Name::Explain),
        ("reload", 3, Name::Reload),
        ("diff", 3, Name::Difference),
        ("dump", 2, Name::Dump),
        ("services", 2, Name::Services),
    ];

    #[test]
    fn every_prefix_means_what_it_means_to_balance() {
        for (name, shortest, meaning) in SHORTEST {
            for length in 1..=name.len() {
                let found = meant(&NAMES, &name[..length]);
                assert_eq!(found == Some(meaning), length >= shortest, "{}", &name[..length]);
                assert!(found.is_some(), "it means something earlier");
            }
            assert_eq!(meant(&NAMES, &format!("{name}x")), None, "nothing is cut off");
        }
    }

    #[test]
    fn no_command_of_ours_takes_a_prefix_from_balance() {
        let (theirs, ours) = NAMES.split_at(18);
        assert_eq!(ours.map_names(), ["drain", "weight", "explain", "reload", "diff", "dump", "services"]);
        for (name, _) in theirs {
            for length in 1..=name.len() {
                assert_eq!(meant(theirs, &name[..length]), meant(&NAMES, &name[..length]));
            }
        }
    }

    trait MapNames {
        fn map_names(&self) -> Vec<&str>;
    }

    impl MapNames for [(&str, Name)] {
        fn map_names(&self) -> Vec<&str> {
            self.iter().map(|(name, _)| *name).collect()
        }
    }

    #[test]
    fn a_missing_or_surplus_word_is_a_syntax_error() {
        let lines = [
            "x",
            "disable",
            "disable 0 1",
            "group",
            "create",
            "create host",
            "create a 1 2",
            "assign 0 host",
            "maxc 1",
            "mrtg-bytes 0",
            "mrtg-conns",
            "monitor",
            "monitor on",
            "quit now",
            "show all",
            "version 2",
            "hash 1",
            "rr 1",
            "drain",
            "weight 0",
            "explain",
            "reload now",
            "diff 1",
            "dump all",
            "dump loaded now",
            "services 1",
            "Show",
            "showx",
        ];
        for line in lines {
            assert_eq!(Command::parse(line), Err(SYNTAX_ERROR.to_owned()), "{line}");
        }
        assert_eq!(Command::parse("  \t "), Ok(None));
        assert_eq!(Command::parse(" show \r"), Ok(Some(Command::Show)));
        assert_eq!(Command::parse("dump l"), Ok(Some(Command::DumpLoaded)));
    }

    #[test]
    fn a_word_that_is_no_number_is_named() {
        let said = |line| Command::parse(line).unwrap_err();
        assert_eq!(said("disable 1x"), "'1x' is not the number of a channel");
        assert_eq!(said("d +1"), "'+1' is not the number of a channel");
        assert_eq!(said("group \u{7}"), "'\\u{7}' is not the number of a group");
        assert_eq!(said("group \u{202e}"), "'\\u{202e}' is not the number of a group");
        assert_eq!(said("maxc 0 -5"), "'-5' is not a number from 0 to 4294967295");
        assert_eq!(said("maxc 0 4294967296"), "'4294967296' is not a number from 0 to 4294967295");
        assert_eq!(said("weight 0 65536"), "'65536' is not a number from 0 to 65535");
        assert_eq!(said("explain beta"), "'beta' is not the address of a client, 192.0.2.7 or 2001:db8::7");
        assert_eq!(
            said(&format!("explain {}", "z".repeat(61))).len(),
            63 + "'' is not the address of a client, 192.0.2.7 or 2001:db8::7".len()
        );
    }

    #[test]
    fn a_number_beyond_all_channels_is_a_number() {
        for (line, shown) in [("e 07", "7"), ("e -1", "-1"), ("e 99999999999999999999", "99999999999999999999")] {
            let Ok(Some(Command::Enable(number))) = Command::parse(line) else { panic!("{line}") };
            assert_eq!(number.to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in ".{0,80}", number in "[-+0-9x]{0,25}") {
            let _ = Command::parse(&line);
            for (name, _) in NAMES {
                let _ = Command::parse(&format!("{name} {number}"));
                let _ = Command::parse(&format!("{name} {number} {line} {number}"));
            }
        }
    }
}
