//! The secret that a client of the HTTP interface shows.

use std::{fmt, hint::black_box, str::FromStr};

/// A secret of 1 to 256 characters, as a header can carry them: ASCII without blanks. It is never shown by accident:
/// what prints it asks for it.
/// ```
/// # #[cfg(feature = "config")] {
/// use lb_net::config::Token;
/// let token: Token = "6f1d0c6a2b7e4d58".parse()?;
/// assert!(token.is(b"6f1d0c6a2b7e4d58") && !token.is(b"6f1d"));
/// assert_eq!(format!("{token:?}"), "Token(..)");
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why a text is no [`Token`]; it does not tell the text.
/// ```
/// # #[cfg(feature = "config")] {
/// let error = "a b".parse::<lb_net::config::Token>().unwrap_err();
/// assert_eq!(error.to_string(), "expected 1 to 256 ASCII characters without blanks, such as `openssl rand -hex 32` prints");
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 256 ASCII characters without blanks, such as `openssl rand -hex 32` prints")]
pub struct TokenError;

impl Token {
    /// Whether these bytes are it. How long that takes tells nothing but whether they are as many.
    #[must_use]
    pub fn is(&self, shown: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differing = own.iter().zip(shown).fold(0, |differing, (own, shown)| differing | black_box(own ^ shown));
        own.len() == shown.len() && differing == 0
    }

    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let fits = (1..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.to_owned())).ok_or(TokenError)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn only_the_same_bytes_are_it(text in "[!-~]{1,40}", other in "[!-~]{0,40}") {
            let token: Token = text.parse().unwrap();
            prop_assert!(token.is(text.as_bytes()));
            prop_assert_eq!(token.is(other.as_bytes()), text == other);
            prop_assert_eq!(token.is(&text.as_bytes()[1..]), false);
        }

        #[test]
        fn what_a_header_cannot_carry_is_no_token(text in ".{0,300}") {
            let fits = !text.is_empty() && text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic());
            prop_assert_eq!(text.parse::<Token>().is_ok(), fits);
        }
    }
}
