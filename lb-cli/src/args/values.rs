//! What the values of options may be, and what is said of those that may not.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::ValueEnum;

/// How long a backend may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Race(pub(crate) Option<Duration>);

impl FromStr for Race {
    type Err = &'static str;
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        if word == "off" {
            return Ok(Self(None));
        }
        let millis = word.parse::<u32>().ok().filter(|millis| *millis > 0);
        let millis = millis.ok_or("not a number of milliseconds from 1 to 4294967295, and not 'off'")?;
        Ok(Self(Some(Duration::from_millis(u64::from(millis)))))
    }
}

/// What is written for the packages of a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Page {
    Man,
    Bash,
    Zsh,
    Fish,
}

pub(super) fn seconds(word: &str) -> Result<Duration, &'static str> {
    const DAYS: f64 = 36_500.0 * 86_400.0;
    let known = word.parse().ok().filter(|seconds: &f64| (0.0..=DAYS).contains(seconds));
    // What is not 0 is no 0, however short.
    let time = |seconds| {
        if seconds > 0.0 { Duration::from_secs_f64(seconds).max(Duration::from_millis(1)) } else { Duration::ZERO }
    };
    known.map(time).ok_or("not a number of seconds from 0 to 3153600000")
}

pub(super) fn positive_seconds(word: &str) -> Result<Duration, &'static str> {
    seconds(word).ok().filter(|time| !time.is_zero()).ok_or("not a number of seconds above 0, up to 3153600000")
}

/// Absolute from here on: the working directory changes when lb goes to the background.
pub(super) fn directory(word: &str) -> Result<PathBuf, String> {
    std::path::absolute(Path::new(word)).map_err(|error| format!("not a directory: {error}"))
}

pub(super) fn demo_port(word: &str) -> Result<u16, &'static str> {
    word.parse().map_err(|_| "not a port from 1 to 65535, nor 0 for any free one")
}

pub(super) fn length(word: &str) -> Result<u32, &'static str> {
    word.parse().map_err(|_| "not a number from 0 to 4294967295")
}

pub(super) fn workers(word: &str) -> Result<NonZeroUsize, &'static str> {
    let known = word.parse().ok().filter(|workers: &NonZeroUsize| workers.get() <= 1024);
    known.ok_or("not a number from 1 to 1024")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_0_is_no_0() {
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        assert_eq!(seconds("0.0000001"), Ok(Duration::from_millis(1)));
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
    }

    proptest! {
        #[test]
        fn no_text_panics(word in any::<String>()) {
            let _ = (seconds(&word), positive_seconds(&word), workers(&word), length(&word), demo_port(&word), directory(&word));
            let _ = word.parse::<Race>();
        }
    }
}
