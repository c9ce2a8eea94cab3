//! The system's log through its socket, as syslog(3) writes to it (RFC 3164).

use std::{
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
};

/// Programs without a user (LOG_DAEMON), shifted to its place.
const FACILITY: u8 = 3 << 3;

/// Written to as long as it is there; without one, or while it is full, lines are lost.
#[derive(Debug)]
pub(super) struct Syslog {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl Default for Syslog {
    fn default() -> Self {
        Self::at(Path::new("/dev/log"))
    }
}

impl Syslog {
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), socket: None }
    }

    /// Without a time: the system's log adds its own, and in the zone that it writes in.
    pub(super) fn write(&mut self, level: u8, line: &str) {
        let line = format!("<{}>lb[{}]: {line}", FACILITY | level, std::process::id());
        // The log may have been started again since the last line, with another socket of the same name.
        if self.send(&line).is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock) {
            self.socket = None;
            let _ = self.send(&line);
        }
    }

    fn send(&mut self, line: &str) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.connect()?,
        };
        self.socket.insert(socket).send(line.as_bytes()).map(drop)
    }

    fn connect(&self) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(&self.path)?;
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(by: &UnixDatagram) -> String {
        let mut line = [0; 512];
        let length = by.recv(&mut line).unwrap();
        String::from_utf8_lossy(&line[..length]).into_owned()
    }

    #[test]
    fn lines_arrive_also_after_the_log_was_started_again_and_without_one_nothing_happens() {
        let path = std::env::temp_dir().join(format!("lb-syslog-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut syslog = Syslog::at(&path);
        syslog.write(3, "nobody hears it");
        for line in ["one", "two"] {
            let log = UnixDatagram::bind(&path).unwrap();
            syslog.write(4, line);
            assert_eq!(heard(&log), format!("<28>lb[{}]: {line}", std::process::id()));
            std::fs::remove_file(&path).unwrap();
        }
    }
}
