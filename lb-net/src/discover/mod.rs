//! Backends that nobody lists: from node files and from DNS, watched for as long as it runs.
//!
//! A [`Source`] is where they come from: a [`NodeFile`] with a backend a line, or a [`DnsName`], each address of which is
//! a backend. [`Found`] is what the sources have said last, a plain value that whoever runs the backends keeps; it begins
//! with a look that blocks. A [`Watcher`] looks again and tells of what is new ([`Discovered`]). A source that has no good
//! answer any more changes nothing: its last good list stays.
//! ```
//! use lb_net::discover::{Found, Source};
//! let file = std::env::temp_dir().join(format!("nodes-{}", std::process::id()));
//! std::fs::write(&file, "alpha:80        # the old one\nbeta:80:256:3\n")?;
//! let source: Source = file.to_str().unwrap_or_default().parse()?;
//! let found = Found::default().looked([source.clone()])?;
//! assert_eq!(found.of(&source)[1].to_string(), "beta:80:256:3");
//! # std::fs::remove_file(&file)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod found;
mod news;
mod nodes;
mod source;
mod stamp;
mod watch;

pub use self::{
    error::DiscoverError,
    found::Found,
    news::Discovered,
    source::{DnsName, NodeFile, Source, SourceError},
    watch::Watcher,
};
