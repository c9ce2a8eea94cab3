//! The other end of a control socket: a blocking client, for programs that ask a running instance.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{
    End, Place, PlaceError,
    frame::{Garbled, Greeting, Header, LONGEST_REQUEST},
};

/// How long an answer may take. A name may have to be resolved for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest text that is read as an answer: a fleet of a million, as JSON.
const LONGEST_ANSWER: u64 = 1 << 29;

/// A control session with a running instance. It waits up to 60 seconds for each answer.
/// ```
/// use lb_net::manage::{Client, ConnectError, Place};
/// let nobody = Place::new(Some("/tmp/lb-nobody-has-been-here".as_ref()), 80, None)?;
/// assert!(matches!(Client::connect(&nobody), Err(ConnectError::Absent(_))));
/// # Ok::<(), lb_net::manage::PlaceError>(())
/// ```
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    pid: u32,
    version: String,
}

/// What an instance answered to one line.
/// ```
/// # fn show(client: &mut lb_net::manage::Client) -> std::io::Result<()> {
/// let answer = client.execute("disable 0")?;
/// println!("{}{}", answer.text, if answer.failed { "(refused)" } else { "" });
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// What to print; it ends in a newline unless it is empty.
    pub text: String,
    /// Whether a command was refused or could not be understood.
    pub failed: bool,
    /// The session's group from now on.
    pub group: usize,
    /// Whether the session is over. After [`End::Kill`], [`wait_for_end`](Client::wait_for_end) tells when it has
    /// stopped.
    pub end: Option<End>,
}

/// Why there is no session.
/// ```
/// let error = lb_net::manage::ConnectError::Absent("/run/lb/80.0.0.0.0/control".into());
/// assert_eq!(error.to_string(), "there is no control socket /run/lb/80.0.0.0.0/control");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody serves there.
    #[error("there is no control socket {}", .0.display())]
    Absent(PathBuf),
    /// Somebody has served there, and was killed.
    #[error("nobody listens at the control socket {}", .0.display())]
    Stale(PathBuf),
    /// The instance wants no session; the text says why.
    #[error("it takes no session: {0}")]
    Refused(String),
    /// The directory is none to trust.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// What the system said.
    #[error("cannot talk to the control socket {}", .0.display())]
    Io(PathBuf, #[source] io::Error),
}

impl Client {
    /// Begins a session with the instance at a place. It makes no file and no directory.
    ///
    /// # Errors
    /// Why there is none.
    pub fn connect(place: &Place) -> Result<Self, ConnectError> {
        let path = place.socket();
        if place.find_directory()?.is_none() {
            return Err(ConnectError::Absent(path));
        }
        let stream = connect(place).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ConnectError::Absent(path.clone()),
            io::ErrorKind::ConnectionRefused => ConnectError::Stale(path.clone()),
            io::ErrorKind::InvalidInput => PlaceError::TooLong(path.clone()).into(),
            _ => ConnectError::Io(path.clone(), error),
        })?;
        let mut stream = BufReader::new(stream);
        let line = read_line(&mut stream).map_err(|error| ConnectError::Io(path.clone(), error))?;
        match line.parse() {
            Ok(Greeting::Welcome { pid, version }) => Ok(Self { stream, pid, version }),
            Ok(Greeting::Refused(reason)) => Err(ConnectError::Refused(reason)),
            Err(garbled) => Err(ConnectError::Io(path, garbled.into())),
        }
    }

    /// The process that serves.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The version of the program that serves.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Has a line carried out. Line ends within it part commands as `;` does.
    ///
    /// # Errors
    /// When it is longer than 64 KiB ([`InvalidInput`](io::ErrorKind::InvalidInput)), or there is no answer.
    pub fn execute(&mut self, line: &str) -> io::Result<Answer> {
        let mut request = line.trim_end_matches(['\r', '\n']).replace('\n', ";");
        request.push('\n');
        if request.len() as u64 > LONGEST_REQUEST {
            let text = format!("the line is longer than {LONGEST_REQUEST} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.stream.get_mut().write_all(request.as_bytes())?;
        let header: Header = read_line(&mut self.stream)?.parse().map_err(io::Error::from)?;
        let mut text = Vec::new();
        let length = header.length.min(LONGEST_ANSWER);
        if (&mut self.stream).take(length).read_to_end(&mut text)? as u64 != header.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(Answer { text, failed: header.failed, group: header.group, end: header.end })
    }

    /// Whether the session is there still: the other side ends those in which nothing is said for long.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let peeked = recv(self.stream.get_ref(), &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(peeked, Err(Errno::AGAIN | Errno::INTR))
    }

    /// Waits until the other side has ended the session; `false` when it has not within `patience`.
    ///
    /// # Errors
    /// What the system said.
    pub fn wait_for_end(&mut self, patience: Duration) -> io::Result<bool> {
        let began = Instant::now();
        loop {
            // A timeout of 0 would be none.
            let left = patience.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
            self.stream.get_ref().set_read_timeout(Some(left))?;
            match self.stream.read(&mut [0; 64]) {
                Ok(0) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(true),
                Err(error) if error.kind() != io::ErrorKind::Interrupted && !is_timeout(&error) => return Err(error),
                _ if began.elapsed() >= patience => return Ok(false),
                _ => {}
            }
        }
    }
}

fn connect(place: &Place) -> io::Result<UnixStream> {
    let address = SockAddr::unix(place.socket())?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.cloexec(), None)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // For the connect too, where the queue is full.
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect(&address)?;
    Ok(socket.into())
}

fn read_line(stream: &mut BufReader<UnixStream>) -> io::Result<String> {
    let mut line = String::new();
    let read = stream.take(LONGEST_REQUEST).read_line(&mut line).map_err(|error| match error {
        late if is_timeout(&late) => io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {PATIENCE:?}")),
        error => error,
    });
    if read? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(line) }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl From<Garbled> for io::Error {
    fn from(_: Garbled) -> Self {
        Self::new(io::ErrorKind::InvalidData, "whoever answers there is no lb")
    }
}
