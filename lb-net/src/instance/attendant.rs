//! Who hears what happens in an instance, and says what it cannot know.

use std::{error::Error, fmt, net::SocketAddr, sync::Arc};

use crate::{
    causes::chain,
    config::{Listen, Model, Name, PoolSize, Service},
    discover::Discovered,
    http::AccessLogNews,
    manage::{Place, PlaceError},
    probe::Finding,
    resolve::Refreshed,
    serve::HttpAddress,
    tcp::Observer,
};

/// Who hears what happens in an instance, and says what it cannot know. All of it may be called from any thread, and must
/// not call the instance.
/// ```
/// use lb_net::instance::{Attendant, News};
/// struct Loud;
/// impl Attendant for Loud {
///     fn tell(&self, news: &News<'_>) {
///         eprintln!("{news}");
///     }
/// }
/// assert!(Loud.load().is_err(), "there is nothing to reload from");
/// ```
pub trait Attendant: Send + Sync + 'static {
    /// Something has happened.
    fn tell(&self, news: &News<'_>);
    /// Who is told of the clients of this service.
    fn observer(&self, name: &Name, service: &Service) -> Option<Arc<dyn Observer>> {
        let _ = (name, service);
        None
    }
    /// This model is about to hold.
    fn applied(&self, model: &Model) {
        let _ = model;
    }
    /// What a reload applies. It may block.
    ///
    /// # Errors
    /// Why there is nothing to apply: what is wrong with the file, say.
    fn load(&self) -> Result<Model, String> {
        Err("there is no configuration file to load".to_owned())
    }
    /// Where the control socket of who listens there is, if it is not the usual place for that.
    fn control_place(&self, listen: &Listen) -> Option<Place> {
        let _ = listen;
        None
    }
    /// What becomes of an order by control, as a sentence; `None` where nothing can be reloaded.
    fn permanence(&self) -> Option<String> {
        None
    }
    /// `kill` was asked for by control: begin the end, and return at once.
    fn kill(&self) {}
}

/// What happens in an instance; its text is fit for a log.
/// ```
/// # fn f(news: &lb_net::instance::News<'_>) {
/// use lb_net::instance::News;
/// if let News::Listening { service, address, .. } = news {
///     println!("{service} listens on {address}");
/// }
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum News<'a> {
    /// The balancer of a pool has something to tell.
    Pool {
        /// Which pool.
        pool: &'a Name,
        /// What.
        event: &'a lb_core::Event,
    },
    /// A backend was checked.
    Checked {
        /// Of which pool.
        pool: &'a Name,
        /// What was found.
        finding: &'a Finding,
    },
    /// Names were asked for again.
    Resolved(&'a Refreshed<'a>),
    /// Sources of backends were looked at again.
    Discovered(&'a Discovered<'a>),
    /// Clients are served at one more place.
    Listening {
        /// For which service.
        service: &'a Name,
        /// Where, as the system says.
        address: SocketAddr,
        /// How large its pool is.
        size: PoolSize,
    },
    /// Clients are no longer accepted at a place; sessions go on for their grace period.
    Closing {
        /// Of which service.
        service: &'a Name,
        /// Where, as the system says.
        address: SocketAddr,
    },
    /// The last session of a place that was closed has ended.
    Closed {
        /// Of which service.
        service: &'a Name,
        /// Where, as the system says.
        address: SocketAddr,
        /// Sessions that had to be cut after the grace period.
        cut: usize,
    },
    /// A place is served without a control socket.
    Uncontrolled {
        /// Of which service.
        service: &'a Name,
        /// Why.
        error: &'a PlaceError,
    },
    /// A reload was asked for: what has changed, a line for each, or why nothing has.
    Reloaded(Result<&'a str, &'a str>),
    /// Control is offered over HTTP.
    ControlListening(&'a HttpAddress),
    /// Others may read the token that protects control; the text says what closes it.
    TokenExposed(&'a str),
    /// What becomes of an access log.
    AccessLog(&'a AccessLogNews<'a>),
    /// A control socket, or control over HTTP, can no longer be served.
    ControlFailed(&'a (dyn Error + 'static)),
}

impl fmt::Display for News<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool { event, .. } => event.fmt(f),
            Self::Checked { finding, .. } => write!(f, "{}: checked: {}", finding.backend, finding.reason),
            Self::Resolved(news) => news.fmt(f),
            Self::Discovered(news) => news.fmt(f),
            Self::Listening { address, size, .. } => write!(f, "listening on {address}: {size}"),
            Self::Closing { address, .. } => write!(f, "no longer listening on {address}"),
            Self::Closed { address, cut: 0, .. } => write!(f, "the last session from {address} has ended"),
            Self::Closed { address, cut, .. } => {
                let was = if *cut == 1 { "session was" } else { "sessions were" };
                write!(f, "{cut} {was} cut after the grace period of {address}")
            }
            Self::Uncontrolled { error, .. } => write!(f, "has no control socket of its own: {}", chain(error)),
            Self::Reloaded(Ok(changes)) => write!(f, "reloaded: {}", changes.trim_end()),
            Self::Reloaded(Err(why)) => write!(f, "not reloaded, everything stays as it is: {}", why.trim_end()),
            Self::ControlListening(address) => write!(f, "controlled over HTTP at {address}"),
            Self::TokenExposed(warning) => f.write_str(warning),
            Self::AccessLog(news) => news.fmt(f),
            Self::ControlFailed(error) => write!(f, "cannot be controlled: {}", chain(*error)),
        }
    }
}
