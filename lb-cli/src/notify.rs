//! systemd's notices: ready, stopping, what goes on (sd_notify(3)).

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

use rustix::process::Pid;

/// Names the socket: a path, or behind an `@` an abstract name.
pub(crate) const VARIABLE: &str = "NOTIFY_SOCKET";

/// Whoever wants to know how it goes; nobody when `lb` was started by hand. That a notice is lost is no failure.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    socket: Option<(UnixDatagram, OsString)>,
}

impl Notifier {
    pub(crate) fn from_environment() -> Self {
        let name = std::env::var_os(VARIABLE).filter(|name| !name.is_empty());
        Self { socket: name.and_then(|name| Some((connect(&name).ok()?, name))) }
    }

    /// What the socket is called.
    pub(crate) fn name(&self) -> Option<&OsStr> {
        self.socket.as_ref().map(|(_, name)| name.as_os_str())
    }

    /// `lb` serves.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// `lb` serves as another process, which from now on is the one that counts.
    pub(crate) fn ready_as(&self, process: Pid, status: &str) {
        self.send(&format!("MAINPID={}\nREADY=1\nSTATUS={}", process.as_raw_nonzero(), one_line(status)));
    }

    /// It serves as before, and loads its configuration anew; that it is ready again follows.
    pub(crate) fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It accepts nobody else, and lets sessions end.
    pub(crate) fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={}", one_line(status)));
    }

    fn send(&self, notice: &str) {
        if let Some((socket, _)) = &self.socket {
            let _ = socket.send(notice.as_bytes());
        }
    }
}

/// A line is one assignment.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    // A reader that does not read is no reason to wait.
    socket.set_nonblocking(true)?;
    match name.as_bytes() {
        [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        path => socket.connect(OsStr::from_bytes(path))?,
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(by: &UnixDatagram) -> String {
        let mut notice = [0; 512];
        let length = by.recv(&mut notice).unwrap();
        String::from_utf8_lossy(&notice[..length]).into_owned()
    }

    #[test]
    fn an_abstract_name_is_a_socket_too() {
        let name = format!("lb-notify-{}", std::process::id());
        let reader = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let name = OsString::from(format!("@{name}"));
        let notifier = Notifier { socket: connect(&name).ok().map(|socket| (socket, name.clone())) };
        assert_eq!(notifier.name(), Some(name.as_os_str()));
        notifier.ready("as\nit is");
        assert_eq!(heard(&reader), "READY=1\nSTATUS=as it is");
        notifier.stopping("soon");
        assert_eq!(heard(&reader), "STOPPING=1\nSTATUS=soon");
    }

    #[test]
    fn a_notice_to_nobody_is_no_failure() {
        Notifier::default().ready("");
        assert!(connect(OsStr::new("/no/such/socket")).is_err());
    }
}
