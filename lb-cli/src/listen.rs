//! The sockets that clients come to, and what can be done when they cannot be had.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
};

use lb_net::listener::BindError;

use crate::{
    args::{Balance, address},
    failure::{Failure, Status},
};

/// Where `lb` listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    At(SocketAddr),
    /// On all addresses of both families; on a machine without IPv6, on those of IPv4, unless IPv6 was asked for.
    Everywhere {
        port: u16,
        ipv6: bool,
    },
}

impl Place {
    pub(crate) fn new(args: &Balance, port: u16) -> Result<Self, Failure> {
        Ok(match &args.bind {
            Some(word) => {
                Self::At(SocketAddr::new(address(word, args.ipv6).map_err(|failure| failure.about("-b"))?, port))
            }
            None => Self::Everywhere { port, ipv6: args.ipv6 },
        })
    }

    /// What is listened on as far as the system allows.
    pub(crate) fn address(self) -> SocketAddr {
        match self {
            Self::At(address) => address,
            Self::Everywhere { port, .. } => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port),
        }
    }
}

/// Why, and what can be done about it.
pub(crate) fn cannot_listen(error: &BindError) -> Failure {
    let failure = Failure::chain(Status::System, error);
    match remedy(error) {
        Some(remedy) => failure.with_remedy(&remedy),
        None => failure,
    }
}

fn remedy(error: &BindError) -> Option<String> {
    match error.source.kind() {
        io::ErrorKind::AddrInUse => Some("another lb, or another program, listens there".to_owned()),
        io::ErrorKind::PermissionDenied if error.address.port() < 1024 => Some(format!(
            "start lb as root, or give it the right to ports below 1024: setcap cap_net_bind_service=+ep {}",
            std::env::current_exe().map_or_else(|_| "lb".to_owned(), |path| path.display().to_string())
        )),
        io::ErrorKind::AddrNotAvailable => Some("it is no address of this machine".to_owned()),
        _ => None,
    }
}
