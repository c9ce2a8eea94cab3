//! The sockets that clients come to, and what can be done when they cannot be had.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
};

use lb_net::{
    config::Listen,
    listener::{BindError, bind},
};

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

    /// What a configuration file says.
    pub(crate) fn of(listen: &Listen) -> Result<Self, Failure> {
        let port = listen.port();
        Ok(match listen.host() {
            Some(host) => {
                let ip = address(host, false).map_err(|failure| failure.about(&listen.to_string()))?;
                Self::At(SocketAddr::new(ip, port))
            }
            None => Self::Everywhere { port, ipv6: false },
        })
    }

    /// Listens there, with one socket for each worker.
    pub(crate) fn listen(self, workers: usize) -> Result<Vec<TcpListener>, Failure> {
        let listeners = match self {
            Self::At(address) => bind(address, workers),
            Self::Everywhere { port, ipv6 } => bind_everywhere(port, workers, ipv6),
        };
        listeners.map_err(|error| cannot_listen(&error))
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

fn bind_everywhere(port: u16, count: usize, ipv6: bool) -> Result<Vec<TcpListener>, BindError> {
    let all: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
    let [v6, v4] = all.map(|ip| SocketAddr::new(ip, port));
    bind(v6, count).or_else(|error| {
        let no_ipv6 = matches!(error.source.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
            || error.source.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
        if no_ipv6 && !ipv6 { bind(v4, count) } else { Err(error) }
    })
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
