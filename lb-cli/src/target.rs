//! Which running `lb` a command line is about.

use std::path::{Path, PathBuf};

use lb_net::{
    config::Listen,
    manage::{Client, ConnectError, Place, PlaceError},
    resolve,
};

use crate::{
    args::Balance,
    failure::{Failure, Status},
};

/// What names the directory of control sockets, on a command line and in a file.
pub(crate) const OPTION: &str = "--control-dir";
pub(crate) const KEY: &str = "control.directory";

/// The instance that a command line is about.
#[derive(Debug)]
pub(crate) struct Target {
    place: Place,
    /// What names its directory.
    setting: &'static str,
}

impl Target {
    /// The one that serves this port on what `-b` says, word for word.
    ///
    /// # Errors
    /// When the port is none.
    pub(crate) fn new(args: &Balance) -> Result<Self, Failure> {
        let port = resolve::port(&args.port).map_err(|error| Failure::chain(Status::Usage, &error))?;
        let place = Place::new(args.control_dir.as_deref(), port, args.bind.as_deref());
        Ok(Self { place: place.map_err(|error| misplaced(&error, OPTION))?, setting: OPTION })
    }

    /// The one that listens there, in this directory of control sockets or the usual one.
    ///
    /// # Errors
    /// When the directory has no path.
    pub(crate) fn at(listen: &Listen, directory: Option<&Path>) -> Result<Self, Failure> {
        let place = Place::new(directory, listen.port(), listen.host());
        Ok(Self { place: place.map_err(|error| misplaced(&error, KEY))?, setting: KEY })
    }

    /// Where it is controlled.
    pub(crate) fn place(self) -> Place {
        self.place
    }

    /// Where its control socket and those of others are.
    pub(crate) fn directory(&self) -> &Path {
        self.place.directory()
    }

    /// The path of its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.place.socket()
    }

    /// A session with it.
    ///
    /// # Errors
    /// When nobody serves there, or is not to be talked to.
    pub(crate) fn connect(&self) -> Result<Client, Failure> {
        Client::connect(&self.place).map_err(|error| match &error {
            ConnectError::Absent(_) => Failure::chain(Status::NoMaster, &error)
                .about("no master process")
                .with_remedy("PORT, -b and --control-dir must be those that it was started with"),
            ConnectError::Stale(_) => Failure::chain(Status::Groups, &error).about("no master process"),
            ConnectError::Refused(_) => Failure::chain(Status::Groups, &error),
            ConnectError::Place(error) => misplaced(error, self.setting),
            _ => Failure::chain(Status::System, &error),
        })
    }
}

/// What is wrong with the place of a control socket, and what can be done about it: by this setting.
pub(crate) fn misplaced(error: &PlaceError, setting: &str) -> Failure {
    let failure = Failure::chain(Status::System, error);
    match error {
        PlaceError::InUse { .. } | PlaceError::Exposed { .. } | PlaceError::Busy(_) => failure,
        _ => failure.with_remedy(&format!("{setting} names another directory for it")),
    }
}
