//! Can we connect?

use std::{io, net::IpAddr};

use async_trait::async_trait;
use tokio::net::TcpStream;

use super::{Answer, Probe, Target};
use crate::{
    connect::{Connect, Dialer},
    sys,
};

/// Passes when a connection can be made; it is closed at once (balance.fm's `connect`).
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// use lb_net::probe::{Answer, Probe, Target, Tcp};
/// let server = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let target = Target::new("alpha", server.local_addr()?);
/// assert_eq!(Tcp::default().probe(&target).await, Answer::Passed);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp {
    dialer: Dialer,
}

impl Tcp {
    /// With connections that come from this address of ours (balance's `-B`).
    #[must_use]
    pub fn with_source(self, source: IpAddr) -> Self {
        Self { dialer: self.dialer.with_source(source) }
    }

    /// A connection, or what there is instead.
    pub(super) async fn connect(&self, target: &Target) -> Result<TcpStream, Answer> {
        self.dialer.connect(&target.address).await.map_err(|error| {
            let reason = explain(&error);
            if sys::lacks_means(&error) { Answer::Inconclusive(reason) } else { Answer::Silent(reason) }
        })
    }
}

#[async_trait]
impl Probe for Tcp {
    async fn probe(&self, target: &Target) -> Answer {
        self.connect(target).await.map_or_else(|answer| answer, |_| Answer::Passed)
    }
}

/// What the system said, in lower case and without its number.
pub(super) fn explain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
