//! A cookie that brings a client back to its backend.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use lb_core::{BackendId, NoPick, key};

use super::message::cookie;
use crate::field_text::is_name;

/// A cookie that brings a client back to its backend, for as long as that is there, even while it drains. It needs no
/// table: every instance with the same backends understands it.
///
/// A backend that is full is waited for, as long as requests wait; one that is gone, down or disabled is not. Then another
/// backend takes the request, and the cookie names that one from there on.
///
/// The value tells neither address nor name. It is no secret, and no proof: who forges one gets one of the backends,
/// which anybody gets. A value that lb did not make, or that has run out, is none.
/// ```
/// use std::time::Duration;
/// let sticky = lb_net::http::Sticky::new("lb")?.with_lifetime(Duration::from_secs(600));
/// assert_eq!((sticky.cookie(), sticky.lifetime()), ("lb", Duration::from_secs(600)));
/// # Ok::<(), lb_net::http::CookieNameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    cookie: Box<str>,
    lifetime: Duration,
    secure: bool,
}

/// What a cookie says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pin {
    pub(crate) backend: BackendId,
    /// Less than half of its lifetime is left, or more than all of it: it should be set again.
    pub(crate) is_old: bool,
}

/// What cannot be the name of a cookie (RFC 6265 section 4.1.1).
/// ```
/// assert!(lb_net::http::Sticky::new("a b").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' cannot be the name of a cookie")]
pub struct CookieNameError(pub String);

impl Sticky {
    /// A cookie of this name that holds for an hour from the last time it was set.
    ///
    /// # Errors
    /// When that is no name of a cookie.
    pub fn new(cookie: &str) -> Result<Self, CookieNameError> {
        if !is_name(cookie) {
            return Err(CookieNameError(cookie.to_owned()));
        }
        Ok(Self { cookie: cookie.into(), lifetime: Duration::from_secs(3600), secure: false })
    }

    /// That holds for so long, in whole seconds, one at least.
    #[must_use]
    pub fn with_lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// That browsers send over TLS only, where they reach lb so; by default they send it over both.
    #[must_use]
    pub fn with_secure(self, secure: bool) -> Self {
        Self { secure, ..self }
    }

    /// Its name.
    #[must_use]
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// For how long it holds.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Whether it is sent over TLS only.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Where the client was before, by the first valid one of these values of `Cookie` fields.
    pub(crate) fn pin<'a>(&self, fields: impl Iterator<Item = &'a [u8]>, now: SystemTime) -> Option<Pin> {
        let now = seconds(now);
        let (backend, expiry) = cookie::named(fields, &self.cookie)
            .filter_map(|value| self.open(value))
            .find(|(_, expiry)| *expiry > now)?;
        let left = u64::from(expiry - now);
        Some(Pin { backend, is_old: left < self.seconds().div_ceil(2) || left > self.seconds() })
    }

    /// Whether the client must be told where it was: this backend has answered.
    pub(crate) fn is_news(pin: Option<Pin>, backend: BackendId) -> bool {
        pin.is_none_or(|pin| pin.is_old || pin.backend != backend)
    }

    /// Whether the pinned backend cannot be waited for, after a pick that failed for this reason: the request must pick
    /// again without the pin. Otherwise it is full, and the same is to be done only once the line is too, or the time
    /// to wait is over; or this request is not let in, wherever it would go.
    pub(crate) fn is_lost(no_pick: NoPick) -> bool {
        !matches!(no_pick, NoPick::AllFull | NoPick::Recovering)
    }

    /// Appends the value of a `Set-Cookie` field.
    pub(crate) fn set_cookie(&self, backend: BackendId, now: SystemTime, out: &mut String) {
        let expiry = u32::try_from(self.seconds().saturating_add(seconds(now).into())).unwrap_or(u32::MAX);
        let (name, value, age) = (&self.cookie, self.seal(backend, expiry), self.seconds());
        // Writing to a string cannot fail.
        let _ = write!(out, "{name}={value:032x}; Max-Age={age}; Path=/; HttpOnly; SameSite=Lax");
        if self.secure {
            out.push_str("; Secure");
        }
    }

    fn seconds(&self) -> u64 {
        self.lifetime.as_secs().max(1)
    }

    /// From the top: the backend, the expiry, the check of both; the one hidden by what follows it.
    fn seal(&self, backend: BackendId, expiry: u32) -> u128 {
        let check = self.check(backend, expiry);
        let (hidden_id, hidden_expiry) = self.hide(backend.as_u64(), expiry, check);
        u128::from(hidden_id) << 64 | u128::from(hidden_expiry) << 32 | u128::from(check)
    }

    fn open(&self, value: &[u8]) -> Option<(BackendId, u32)> {
        let is_ours = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let text = std::str::from_utf8(value).ok().filter(|_| value.len() == 32 && value.iter().all(is_ours))?;
        let sealed = u128::from_str_radix(text, 16).ok()?;
        let check = sealed as u32;
        let expiry = (sealed >> 32) as u32 ^ self.mix(&[check]) as u32;
        let backend = BackendId::from((sealed >> 64) as u64 ^ self.mix(&[check, expiry]));
        (self.check(backend, expiry) == check).then_some((backend, expiry))
    }

    fn hide(&self, id: u64, expiry: u32, check: u32) -> (u64, u32) {
        (id ^ self.mix(&[check, expiry]), expiry ^ self.mix(&[check]) as u32)
    }

    fn check(&self, backend: BackendId, expiry: u32) -> u32 {
        let id = backend.as_u64();
        self.mix(&[expiry, id as u32, (id >> 32) as u32]) as u32
    }

    /// Of one cookie's name nothing is valid for another's. How many words there are counts as well.
    fn mix(&self, words: &[u32]) -> u64 {
        let start = key::of_bytes(self.cookie.as_bytes());
        words.iter().fold(start, |mixed, word| {
            let mut bytes = [0; 12];
            bytes[..8].copy_from_slice(&mixed.to_le_bytes());
            bytes[8..].copy_from_slice(&word.to_le_bytes());
            key::of_bytes(&bytes)
        })
    }
}

/// Since 1970; it lasts until 2106.
fn seconds(time: SystemTime) -> u32 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn sticky() -> Sticky {
        Sticky::new("lb").unwrap()
    }

    /// What a browser sends back.
    fn sent(sticky: &Sticky, backend: BackendId, now: SystemTime) -> String {
        let mut field = String::new();
        sticky.set_cookie(backend, now, &mut field);
        field.split(';').next().unwrap().to_owned()
    }

    fn pin(sticky: &Sticky, field: &str, now: SystemTime) -> Option<Pin> {
        sticky.pin([field.as_bytes()].into_iter(), now)
    }

    #[test]
    fn the_cookie_is_for_the_whole_site_and_for_no_script() {
        let mut field = "before ".to_owned();
        let sticky = sticky().with_lifetime(Duration::from_millis(90_500));
        sticky.set_cookie(BackendId::new("alpha", 0), at(1_800_000_000), &mut field);
        let (value, attributes) = field.strip_prefix("before lb=").unwrap().split_once("; ").unwrap();
        assert_eq!(value.len(), 32);
        assert_eq!(attributes, "Max-Age=90; Path=/; HttpOnly; SameSite=Lax");
        let mut field = String::new();
        sticky.with_secure(true).set_cookie(BackendId::new("alpha", 0), at(0), &mut field);
        assert!(field.ends_with("; SameSite=Lax; Secure"), "{field}");
    }

    #[test]
    fn every_instance_and_every_version_reads_the_same() {
        let alpha = BackendId::new("alpha", 0);
        assert_eq!(sent(&sticky(), alpha, at(1_800_000_000)), "lb=c16169a50d7db13d441a029f1805af62");
    }

    #[test]
    fn it_is_renewed_in_the_second_half_of_its_life_and_ends_with_it() {
        let (sticky, alpha) = (sticky(), BackendId::new("alpha", 0));
        let field = sent(&sticky, alpha, at(1000));
        let old = |now| pin(&sticky, &field, at(now)).map(|pin| pin.is_old);
        assert_eq!(
            [1000, 2800, 2801, 4599, 4600, 9999].map(old),
            [Some(false), Some(false), Some(true), Some(true), None, None]
        );
        let shorter = sticky.clone().with_lifetime(Duration::from_secs(60));
        assert_eq!(pin(&shorter, &field, at(1000)), Some(Pin { backend: alpha, is_old: true }), "other settings");
    }

    #[test]
    fn the_client_is_told_when_it_does_not_know() {
        let [alpha, beta] = ["alpha", "beta"].map(|name| BackendId::new(name, 0));
        let pin = |is_old| Some(Pin { backend: alpha, is_old });
        let news = |pin| Sticky::is_news(pin, alpha);
        assert_eq!([news(None), news(pin(false)), news(pin(true))], [true, false, true]);
        assert!(Sticky::is_news(pin(false), beta));
    }

    #[test]
    fn of_several_the_first_valid_one_counts() {
        let (sticky, alpha) = (sticky(), BackendId::new("alpha", 0));
        let field =
            format!("lb=; lb=moon; {}; {}", sent(&sticky, alpha, at(99)), sent(&sticky, BackendId::from(1), at(99)));
        assert_eq!(pin(&sticky, &field, at(100)).map(|pin| pin.backend), Some(alpha));
    }

    #[test]
    fn two_visits_have_nothing_in_common_that_could_be_seen() {
        let (sticky, alpha) = (sticky(), BackendId::new("alpha", 0));
        let [one, other] = [1000, 1001].map(|now| sticky.seal(alpha, now));
        for shift in [0, 32, 64, 96] {
            assert_ne!((one >> shift) as u32, (other >> shift) as u32);
        }
    }

    proptest! {
        #[test]
        fn what_was_set_is_the_pin(id: u64, now in 0..4_000_000_000_u64, lifetime in 0..100_000_u64, name in "[a-zA-Z0-9_-]{1,20}") {
            let sticky = Sticky::new(&name).unwrap().with_lifetime(Duration::from_secs(lifetime));
            let field = sent(&sticky, BackendId::from(id), at(now));
            let found = pin(&sticky, &format!("a=b; {field}; c=d"), at(now));
            prop_assert_eq!(found, Some(Pin { backend: BackendId::from(id), is_old: false }));
            let other = Sticky::new(&format!("{name}x")).unwrap();
            prop_assert_eq!(pin(&other, &field.replace('=', "x="), at(now)), None, "another cookie's value");
        }

        #[test]
        fn one_changed_letter_makes_it_no_pin(id: u64, at_byte in 0..32_usize, letter in "[0-9a-fA-F+ ]") {
            let sticky = sticky();
            let field = sent(&sticky, BackendId::from(id), at(1000));
            let mut changed = field.clone();
            changed.replace_range(3 + at_byte..4 + at_byte, &letter);
            prop_assert_eq!(pin(&sticky, &changed, at(1000)).is_some(), field == changed);
        }

        #[test]
        fn no_bytes_panic(field in vec(any::<u8>(), 0..100), now: u32) {
            let with_name = [b"lb=", &*field].concat();
            let fields = [&*field, &*with_name];
            prop_assert_eq!(sticky().pin(fields.into_iter(), at(now.into())), None);
        }
    }
}
