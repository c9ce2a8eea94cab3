//! What a service writes of its requests, and where to.

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr};

/// What a service writes of its requests, and where to: `combined /var/log/lb/www.log`, `json stdout`. Without a format
/// it is `combined`.
/// ```
/// use lb_net::http::{AccessFormat, AccessLogSettings, AccessTo};
/// let settings: AccessLogSettings = "json stdout".parse()?;
/// assert_eq!(settings, AccessLogSettings::new(AccessFormat::Json, AccessTo::Stdout));
/// assert_eq!("/var/log/www.log".parse::<AccessLogSettings>()?.to_string(), "combined /var/log/www.log");
/// # Ok::<(), lb_net::http::AccessLogError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessLogSettings {
    /// How a request is written.
    pub format: AccessFormat,
    /// Where to.
    pub to: AccessTo,
}

impl AccessLogSettings {
    /// In this format, to there.
    #[must_use]
    pub fn new(format: AccessFormat, to: AccessTo) -> Self {
        Self { format, to }
    }
}

/// A text that does not say where requests are written to.
/// ```
/// use lb_net::http::{AccessLogError, AccessLogSettings};
/// assert_eq!("json".parse::<AccessLogSettings>(), Err(AccessLogError("json".to_owned())));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' does not say where to: 'stdout', 'stderr' or a file, after a format if one is given ('json stdout')")]
pub struct AccessLogError(pub String);

impl FromStr for AccessLogSettings {
    type Err = AccessLogError;

    fn from_str(text: &str) -> Result<Self, AccessLogError> {
        let unclear = || AccessLogError(text.to_owned());
        let trimmed = text.trim();
        let (first, rest) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
        let (format, to) = match first.parse() {
            Ok(format) => (format, rest.trim()),
            Err(_) => (AccessFormat::default(), trimmed),
        };
        match to.is_empty() || to.contains('\0') {
            true => Err(unclear()),
            false => to.parse().map(|to| Self { format, to }).map_err(|never: Infallible| match never {}),
        }
    }
}

impl fmt::Display for AccessLogSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.format, self.to)
    }
}

/// How a request is written: one line each.
/// ```
/// use lb_net::http::AccessFormat;
/// assert_eq!("timings".parse(), Ok(AccessFormat::Timings));
/// assert_eq!(AccessFormat::default().to_string(), "combined");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessFormat {
    /// The Common Log Format of NCSA httpd: `192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 2326`.
    Common,
    /// The same and `"referer" "user agent"`, as Apache and nginx write it: what log analysers know.
    #[default]
    Combined,
    /// The same and what lb knows besides, as `name=value` behind it:
    /// `host="a.example" backend="web:80" queue=0.000 connect=0.000 first_byte=1.204 total=1.311 attempts=1 reused=1 reason=- cut=0`.
    /// Times are in milliseconds. GoAccess reads it as `combined`; a reader that wants the line to end with the user agent
    /// does not.
    Timings,
    /// One JSON object for each, with everything that is known.
    Json,
}

/// A word that is no format.
/// ```
/// use lb_net::http::{AccessFormat, UnknownAccessFormat};
/// assert_eq!("xml".parse::<AccessFormat>(), Err(UnknownAccessFormat("xml".to_owned())));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no format: common, combined, timings or json")]
pub struct UnknownAccessFormat(pub String);

impl AccessFormat {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Common, Self::Combined, Self::Timings, Self::Json];

    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Common => "common",
            Self::Combined => "combined",
            Self::Timings => "timings",
            Self::Json => "json",
        }
    }
}

impl FromStr for AccessFormat {
    type Err = UnknownAccessFormat;

    fn from_str(word: &str) -> Result<Self, UnknownAccessFormat> {
        Self::ALL.into_iter().find(|format| format.name() == word).ok_or_else(|| UnknownAccessFormat(word.to_owned()))
    }
}

impl fmt::Display for AccessFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where requests are written to. A file is one that is not called `stdout` or `stderr`: say `./stdout` for one that is.
/// ```
/// use lb_net::http::AccessTo;
/// assert_eq!("stderr".parse(), Ok(AccessTo::Stderr));
/// assert_eq!("www.log".parse(), Ok(AccessTo::File("www.log".into())));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessTo {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The end of this file, which is made if there is none.
    File(PathBuf),
}

impl FromStr for AccessTo {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "stdout" => Self::Stdout,
            "stderr" => Self::Stderr,
            path => Self::File(path.into()),
        })
    }
}

impl fmt::Display for AccessTo {
    /// A path that is no text has replacement characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_format_alone_does_not_say_where_to() {
        for text in ["", "  ", "json", " combined ", "json \0", "a\0b"] {
            assert_eq!(text.parse::<AccessLogSettings>(), Err(AccessLogError(text.to_owned())));
        }
    }

    #[test]
    fn a_name_with_blanks_and_a_file_that_is_called_like_a_format_can_be_said() {
        let file = |format, path: &str| Ok(AccessLogSettings::new(format, AccessTo::File(path.into())));
        assert_eq!("/var/my logs/a".parse(), file(AccessFormat::Combined, "/var/my logs/a"));
        assert_eq!("json  my logs/a".parse(), file(AccessFormat::Json, "my logs/a"));
        assert_eq!("common json".parse(), file(AccessFormat::Common, "json"));
        assert_eq!("./json".parse(), file(AccessFormat::Combined, "./json"));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_as_the_same(text in "(common |json |timings |combined )?(stdout|stderr|\\PC{0,20})") {
            if let Ok(settings) = text.parse::<AccessLogSettings>() {
                prop_assert_eq!(settings.to_string().parse(), Ok(settings));
            }
        }
    }
}
