//! Where a process is controlled, and who may.

use std::{fmt, io, os::unix::fs::PermissionsExt as _, str::FromStr};

use super::{Directory, WordError};
use crate::{
    http_address::HttpAddress,
    small_file::{self, Unread},
    token::{Token, TokenError},
};

/// How much of a token file is read: far more than a token and blanks around it.
const MOST: usize = 64 * 1024;

/// Where running services are controlled.
/// ```
/// let control = lb_net::config::Control::default();
/// assert_eq!((control.directory, control.http), (None, None));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Control {
    /// The directory of the control sockets (`--control-dir`); `None` is the usual one.
    pub directory: Option<Directory>,
    /// Where the same is offered over HTTP, and metrics; `None` is nowhere.
    pub http: Option<ControlHttp>,
}

/// Control over HTTP: where, and the token that is wanted there. Where others can reach it there is one.
/// ```
/// use lb_net::config::{ControlHttp, TokenSource};
/// let open = ControlHttp::new("0.0.0.0:9480".parse()?, None).unwrap_err();
/// assert!(open.to_string().starts_with("others can reach 0.0.0.0:9480"));
/// let file = TokenSource::File("/etc/lb/token".parse()?);
/// assert!(ControlHttp::new("0.0.0.0:9480".parse()?, Some(file)).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlHttp {
    address: HttpAddress,
    token: Option<TokenSource>,
}

/// Where a token is from.
/// ```
/// use lb_net::config::TokenSource;
/// let source = TokenSource::Written("6f1d0c6a2b7e4d58".parse()?);
/// assert_eq!(format!("{source:?}"), "Written(Token(..))");
/// # Ok::<(), lb_net::config::TokenError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenSource {
    /// It is written in the configuration.
    Written(Token),
    /// It is in a file of its own.
    File(TokenFile),
}

/// An address that others can reach takes a token.
/// ```
/// # let error = lb_net::config::ControlHttp::new("[::]:9480".parse()?, None).unwrap_err();
/// assert!(error.to_string().ends_with("or listen on 127.0.0.1:9480"));
/// # Ok::<(), lb_net::config::HttpAddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("others can reach {0}: add token_file = \"/etc/lb/token\" or token = \"...\", or listen on 127.0.0.1:9480")]
pub struct OpenError(HttpAddress);

impl ControlHttp {
    /// At this address, with a token or without.
    ///
    /// # Errors
    /// Without one where others can reach it.
    pub fn new(address: HttpAddress, token: Option<TokenSource>) -> Result<Self, OpenError> {
        if token.is_none() && !address.is_local() {
            return Err(OpenError(address));
        }
        Ok(Self { address, token })
    }

    /// Where.
    #[must_use]
    pub fn address(&self) -> &HttpAddress {
        &self.address
    }

    /// Where the token is from, if one is wanted.
    #[must_use]
    pub fn token(&self) -> Option<&TokenSource> {
        self.token.as_ref()
    }

    /// The token itself, if one is wanted. It may be in a file that only root can read.
    ///
    /// # Errors
    /// As [`TokenFile::read`].
    pub fn read_token(&self) -> Result<Option<ReadToken>, TokenFileError> {
        match &self.token {
            None => Ok(None),
            Some(TokenSource::Written(token)) => Ok(Some(ReadToken { token: token.clone(), warning: None })),
            Some(TokenSource::File(file)) => file.read().map(Some),
        }
    }
}

/// A file with a token in it, by its whole path.
/// ```
/// use lb_net::config::TokenFile;
/// let path = std::env::temp_dir().join(format!("lb-doctest-token-{}", std::process::id()));
/// # use std::os::unix::fs::OpenOptionsExt as _;
/// # let mut file = std::fs::OpenOptions::new().write(true).create(true).mode(0o600).open(&path)?;
/// # std::io::Write::write_all(&mut file, b"6f1d0c6a2b7e4d58\n")?;
/// let file: TokenFile = path.to_str().unwrap_or_default().parse()?;
/// let read = file.read()?;
/// assert!(read.token.is(b"6f1d0c6a2b7e4d58") && read.warning.is_none());
/// # std::fs::remove_file(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFile(String);

/// What a [`TokenFile`] has in it.
/// ```
/// # fn show(file: &lb_net::config::TokenFile) -> Result<(), lb_net::config::TokenFileError> {
/// let read = file.read()?;
/// read.warning.iter().for_each(|warning| println!("{warning}"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadToken {
    /// The token.
    pub token: Token,
    /// What about the file is hardly meant.
    pub warning: Option<String>,
}

/// Why there is no token in a file.
/// ```
/// let file: lb_net::config::TokenFile = "/nowhere/token".parse()?;
/// assert_eq!(file.read().unwrap_err().to_string(), "cannot read the token file /nowhere/token");
/// # Ok::<(), lb_net::config::WordError>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFileError {
    /// What the system said.
    #[error("cannot read the token file {0}")]
    Io(String, #[source] io::Error),
    /// A directory, say, or what has no end.
    #[error("cannot read the token file {0}: it is no file")]
    NoFile(String),
    /// No token is so long.
    #[error("cannot read the token file {0}: it has more than 64 KiB")]
    Large(String),
    /// What is in it is none.
    #[error("the token file {0} has no token in it")]
    Token(String, #[source] TokenError),
}

impl TokenFile {
    /// Its path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads it. Blanks and line ends around the token are no part of it.
    ///
    /// # Errors
    /// When it cannot be read, or has no token in it.
    pub fn read(&self) -> Result<ReadToken, TokenFileError> {
        let file = small_file::open(self.0.as_ref()).map_err(|unread| self.unread(unread))?;
        let found = file.metadata().map_err(|error| self.unread(error.into()))?;
        let content = small_file::content(&file, MOST).map_err(|unread| self.unread(unread))?;
        // The other error has all of it, and is shown to whoever debugs.
        let text = std::str::from_utf8(&content).map_err(|error| self.unread(Unread::Io(io::Error::other(error))))?;
        let token = text.trim().parse().map_err(|error| TokenFileError::Token(self.0.clone(), error))?;
        let mode = found.permissions().mode() & 0o7777;
        let warning = (mode & 0o007 != 0).then(|| {
            format!("others may use the token file {} (mode {mode:04o}): chmod o-rwx would keep them out", self.0)
        });
        Ok(ReadToken { token, warning })
    }

    fn unread(&self, unread: Unread) -> TokenFileError {
        match unread {
            Unread::Io(error) => TokenFileError::Io(self.0.clone(), error),
            Unread::NoFile => TokenFileError::NoFile(self.0.clone()),
            Unread::Large => TokenFileError::Large(self.0.clone()),
        }
    }
}

impl FromStr for TokenFile {
    type Err = WordError;
    fn from_str(word: &str) -> Result<Self, WordError> {
        word.parse::<Directory>().map(|path| Self(path.as_str().to_owned()))
    }
}

impl fmt::Display for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_token_file_is_told() {
        let path = std::env::temp_dir().join(format!("lb-token-{}", std::process::id()));
        let file: TokenFile = path.to_str().unwrap().parse().unwrap();
        let with = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            file.read()
        };
        let read = with("  secret-secret-secret\n\n", 0o640).unwrap();
        assert!(read.token.is(b"secret-secret-secret") && read.warning.is_none());
        let warning = with("secret", 0o644).unwrap().warning.unwrap();
        assert!(warning.contains("(mode 0644): chmod o-rwx"), "{warning}");
        for text in ["", "\n", "two words"] {
            let error = with(text, 0o600).unwrap_err();
            assert!(matches!(error, TokenFileError::Token(..)), "{error}");
        }
        assert!(with(&" ".repeat(MOST), 0o600).is_err_and(|error| matches!(error, TokenFileError::Token(..))));
        assert!(with(&" ".repeat(MOST + 1), 0o600).is_err_and(|error| matches!(error, TokenFileError::Large(_))));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(file.read(), Err(TokenFileError::NoFile(_))));
        fs::remove_dir(&path).unwrap();
        assert!(matches!(file.read(), Err(TokenFileError::Io(..))));
    }
}
