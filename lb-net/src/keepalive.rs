//! How soon a peer that vanished without a word is noticed.

use std::{fmt, io, os::fd::AsFd, str::FromStr, time::Duration};

use rustix::net::sockopt;

/// The most seconds that Linux takes for either time (`MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL`).
const MOST_SECONDS: u16 = 32767;

/// The most probes that Linux takes (`MAX_TCP_KEEPCNT`).
const MOST_PROBES: u16 = 127;

/// Keepalive of TCP connections (balance.fm's `-k` and `-K`): a peer that has said nothing for `idle` is asked whether it
/// is there, every `interval`, and given up after so many `probes` without an answer.
/// ```
/// use lb_net::sys::Keepalive;
/// let keepalive: Keepalive = "60,10,3".parse()?;
/// assert_eq!((keepalive.idle().as_secs(), keepalive.probes(), keepalive.to_string().as_str()), (60, 3, "60,10,3"));
/// let error = "60,0.5,3".parse::<Keepalive>().unwrap_err();
/// assert_eq!(error.to_string(), "'0.5' in '60,0.5,3' is no interval: a whole number of seconds from 1 to 32767");
/// # Ok::<(), lb_net::sys::KeepaliveError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    idle: u16,
    interval: u16,
    probes: u16,
}

/// Why a text is no [`Keepalive`].
/// ```
/// let error = "60,10".parse::<lb_net::sys::Keepalive>().unwrap_err();
/// assert!(error.to_string().starts_with("'60,10' is no keepalive"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeepaliveError {
    /// It has not three parts.
    #[error("'{0}' is no keepalive: idle seconds, seconds between probes and their number, such as 60,10,3")]
    Form(String),
    /// The idle time, and the whole that it stands in.
    #[error("'{0}' in '{1}' is no idle time: a whole number of seconds from 1 to {MOST_SECONDS}")]
    Idle(String, String),
    /// The time between probes, and the whole that it stands in.
    #[error("'{0}' in '{1}' is no interval: a whole number of seconds from 1 to {MOST_SECONDS}")]
    Interval(String, String),
    /// The number of probes, and the whole that it stands in.
    #[error("'{0}' in '{1}' is no number of probes: from 1 to {MOST_PROBES}")]
    Probes(String, String),
}

impl Keepalive {
    /// How long a connection is idle before its peer is asked.
    #[must_use]
    pub fn idle(&self) -> Duration {
        Duration::from_secs(self.idle.into())
    }

    /// How long an answer is waited for.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.interval.into())
    }

    /// How many probes without an answer end a connection.
    #[must_use]
    pub fn probes(&self) -> u32 {
        self.probes.into()
    }

    /// What connections have that nobody has set anything for, as far as the system tells.
    #[must_use]
    pub fn of_the_system() -> Self {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/tcp_keepalive_{name}")).ok();
        let known = |name, most| number(read(name)?.trim(), most);
        Self {
            idle: known("time", MOST_SECONDS).unwrap_or(7200),
            interval: known("intvl", MOST_SECONDS).unwrap_or(75),
            probes: known("probes", MOST_PROBES).unwrap_or(9),
        }
    }

    /// Sets it on a socket. What a listener accepts from then on has it too.
    ///
    /// # Errors
    /// What `setsockopt` said.
    pub fn set(&self, socket: impl AsFd) -> io::Result<()> {
        sockopt::set_socket_keepalive(&socket, true)?;
        sockopt::set_tcp_keepidle(&socket, self.idle())?;
        sockopt::set_tcp_keepintvl(&socket, self.interval())?;
        Ok(sockopt::set_tcp_keepcnt(&socket, self.probes.into())?)
    }
}

impl FromStr for Keepalive {
    type Err = KeepaliveError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words: Vec<&str> = text.split(',').collect();
        let [idle, interval, probes] = words[..] else { return Err(KeepaliveError::Form(text.to_owned())) };
        let seconds = |word: &str, error: fn(String, String) -> KeepaliveError| {
            number(word, MOST_SECONDS).ok_or_else(|| error(word.to_owned(), text.to_owned()))
        };
        let count = number(probes, MOST_PROBES);
        Ok(Self {
            idle: seconds(idle, KeepaliveError::Idle)?,
            interval: seconds(interval, KeepaliveError::Interval)?,
            probes: count.ok_or_else(|| KeepaliveError::Probes(probes.to_owned(), text.to_owned()))?,
        })
    }
}

/// A decimal from 1 to `most`, without a sign or a fraction.
fn number(word: &str, most: u16) -> Option<u16> {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse().ok().filter(|number| digits && (1..=most).contains(number))
}

/// As it is parsed.
impl fmt::Display for Keepalive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}", self.idle, self.interval, self.probes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_positive_whole_numbers_in_range_are_a_keepalive_and_nothing_else_is() {
        for text in ["1,1,1", "60,10,3", "32767,32767,127"] {
            assert_eq!(text.parse::<Keepalive>().unwrap().to_string(), text);
        }
        for text in ["0,1,1", "1,0,1", "1,1,0", "1.5,1,1", "+1,1,1", "32768,1,1", "1,32768,1", "1,1,128", "1,1,300"] {
            let error = text.parse::<Keepalive>().unwrap_err().to_string();
            assert!(error.contains(&format!("in '{text}' is no ")), "{error}");
        }
        for text in ["", "1", "1,1", "1,1,1,1"] {
            assert_eq!(text.parse::<Keepalive>(), Err(KeepaliveError::Form(text.to_owned())));
        }
        for text in [",1,1", "1, 1,1", "a,1,1"] {
            assert!(text.parse::<Keepalive>().is_err(), "{text}");
        }
    }
}
