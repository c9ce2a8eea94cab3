//! Serves control sessions on a unix socket.

use std::{io, sync::Arc, time::Duration};

use rustix::process::geteuid;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    ControlSocket, End, Fleet, Reply, Shell,
    aside::aside,
    frame::{Greeting, Header, LONGEST_REQUEST},
};

/// How long accept rests when the system has no means for another session. Nobody is lost: they wait in the queue.
const REST: Duration = Duration::from_millis(50);

/// What sessions are allowed.
/// ```
/// use lb_net::manage::Settings;
/// use std::time::Duration;
/// let settings = Settings::default().with_sessions(8).with_idle_timeout(Duration::from_secs(30));
/// assert_eq!((settings.sessions, settings.write_timeout), (8, Duration::from_secs(10)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Sessions at a time, 64 by default. Further ones are told so and closed.
    pub sessions: usize,
    /// For how long a session may say nothing; 10 minutes by default.
    pub idle_timeout: Duration,
    /// How long a client may take to read an answer; 10 seconds by default.
    pub write_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { sessions: 64, idle_timeout: Duration::from_secs(600), write_timeout: Duration::from_secs(10) }
    }
}

impl Settings {
    /// With so many sessions at a time.
    #[must_use]
    pub fn with_sessions(self, sessions: usize) -> Self {
        Self { sessions, ..self }
    }

    /// With this time for a session to say nothing.
    #[must_use]
    pub fn with_idle_timeout(self, idle_timeout: Duration) -> Self {
        Self { idle_timeout, ..self }
    }

    /// With this time for a client to read an answer.
    #[must_use]
    pub fn with_write_timeout(self, write_timeout: Duration) -> Self {
        Self { write_timeout, ..self }
    }
}

/// Answers control sessions until `stopping` completes: then the socket is removed, and the place is free for the next
/// instance. Sessions end when `closed` completes too.
///
/// Let that be when nothing accepts clients any more: whoever sent `kill` takes the end of the session for the end of the
/// service, and starts the next instance. A command that is carried out at that moment is answered first. Only root and the user of this process get a session. Commands run on a thread
/// of their own, so a name that takes long to resolve keeps nobody waiting. Which `fleet` a line is about is asked when it
/// has come: it may be another one by then.
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lb_net::manage::{Client, ControlSocket, Managed, Place, Settings, serve};
/// use std::sync::Arc;
/// # let mut world = lb_core::sim::World::new(1);
/// # let directory = std::env::temp_dir().join(format!("lb-doctest-serve-{}", std::process::id()));
/// let fleet = Managed::new(Arc::new(world.balancer("alpha beta".parse()?)), |_| Ok(()), |_| (), |()| None);
/// let place = Place::new(Some(&directory), 80, None)?;
/// let socket = ControlSocket::claim(&place)?;
/// let asked = tokio::task::spawn_blocking(move || Client::connect(&place).unwrap().execute("disable 1"));
/// let stop = async { assert_eq!(asked.await.unwrap().unwrap().text, "channel 1 disabled\n") };
/// let fleet: Arc<dyn lb_net::manage::Fleet> = Arc::new(fleet);
/// serve(socket, move || Arc::clone(&fleet), Settings::default(), stop, async {}).await?;
/// # std::fs::remove_dir(directory)?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// When the socket cannot be watched: outside a runtime with I/O, or without a descriptor left.
pub async fn serve(
    socket: ControlSocket,
    fleet: impl Fn() -> Arc<dyn Fleet> + Clone + Send + Sync + 'static,
    settings: Settings,
    stopping: impl Future<Output = ()>,
    closed: impl Future<Output = ()>,
) -> io::Result<()> {
    let listener = UnixListener::from_std(socket.listener()?)?;
    let stopping = async {
        stopping.await;
        // Before the listener, which is how others know that it is ours to remove.
        drop(socket);
    };
    serve_at(listener, fleet, settings, stopping, closed).await;
    Ok(())
}

/// The same for who removes the socket by itself, while this goes on.
pub(crate) async fn serve_at(
    listener: UnixListener,
    fleet: impl Fn() -> Arc<dyn Fleet> + Clone + Send + Sync + 'static,
    settings: Settings,
    stopping: impl Future<Output = ()>,
    closed: impl Future<Output = ()>,
) {
    let (end, ended) = watch::channel(());
    let mut sessions = JoinSet::new();
    let mut stopping = std::pin::pin!(stopping);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = sessions.join_next(), if !sessions.is_empty() => continue,
            () = &mut stopping => break,
        };
        let Ok((stream, _)) = accepted else {
            // It is the system that lacks something, or one client that has gone.
            sleep(REST).await;
            continue;
        };
        match objection(&stream, sessions.len(), settings) {
            None => drop(sessions.spawn(session(stream, fleet.clone(), settings, ended.clone()))),
            // It fits into an empty buffer; who does not read it does not want to know.
            Some(reason) => drop(stream.try_write(Greeting::Refused(reason).to_string().as_bytes())),
        }
    }
    drop(listener);
    closed.await;
    drop(end);
    // A command may have closed this place itself: it is answered. One that takes longer has nobody to tell.
    let _ = timeout(settings.write_timeout, async { while sessions.join_next().await.is_some() {} }).await;
}

fn objection(stream: &UnixStream, sessions: usize, settings: Settings) -> Option<String> {
    let own = geteuid().as_raw();
    match stream.peer_cred().map(|peer| peer.uid()) {
        Ok(uid) if uid != 0 && uid != own => Some(format!("it answers to uid {own} and to root, you are uid {uid}")),
        Err(error) => Some(format!("it cannot see who you are: {error}")),
        Ok(_) if sessions >= settings.sessions => Some(format!("there are {sessions} already")),
        Ok(_) => None,
    }
}

/// One session from greeting to end. That it fails is the client's affair.
async fn session(
    stream: UnixStream,
    fleet: impl Fn() -> Arc<dyn Fleet>,
    settings: Settings,
    ended: watch::Receiver<()>,
) {
    let mut session = Session { stream: BufReader::new(stream), shell: Shell::default(), settings, ended };
    let welcome = Greeting::Welcome { pid: fleet().pid(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let _ = session.write(welcome.to_string()).await;
    while let Ok(Some(line)) = session.read().await {
        let reply = match line {
            Line::Whole(line) => session.execute(line, fleet()).await,
            Line::TooLong => Reply {
                text: format!("the line is longer than {LONGEST_REQUEST} bytes\n"),
                failed: true,
                end: Some(End::Quit),
            },
        };
        let end = reply.end;
        let written = session.reply(&reply).await;
        if end == Some(End::Kill) {
            fleet().kill();
            // That is what the client waits for, also one that says nothing more or has said more already.
            let _ = session.ended.changed().await;
        }
        if end.is_some() || written.is_err() {
            return;
        }
    }
}

struct Session {
    stream: BufReader<UnixStream>,
    shell: Shell,
    settings: Settings,
    /// Its sender goes when no line is waited for any more.
    ended: watch::Receiver<()>,
}

enum Line {
    Whole(String),
    TooLong,
}

impl Session {
    /// The next line; `None` at the end.
    async fn read(&mut self) -> io::Result<Option<Line>> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(LONGEST_REQUEST);
        tokio::select! {
            biased;
            read = timeout(self.settings.idle_timeout, limited.read_until(b'\n', &mut line)) => read??,
            _ = self.ended.changed() => return Ok(None),
        };
        Ok(match line.last() {
            None => None,
            Some(last) if *last != b'\n' && line.len() as u64 == LONGEST_REQUEST => Some(Line::TooLong),
            Some(_) => Some(Line::Whole(String::from_utf8_lossy(&line).into_owned())),
        })
    }

    async fn execute(&mut self, line: String, fleet: Arc<dyn Fleet>) -> Reply {
        let mut shell = self.shell.clone();
        let executed = aside(move || {
            let reply = shell.execute(&line, &*fleet);
            (shell, reply)
        });
        match executed.await {
            Ok((shell, reply)) => {
                self.shell = shell;
                reply
            }
            Err(error) => Reply { text: format!("{error}\n"), failed: true, end: None },
        }
    }

    async fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        let Reply { text, failed, end } = reply;
        let header = Header { failed: *failed, group: self.shell.group(), length: text.len() as u64, end: *end };
        self.write(format!("{header}{text}")).await
    }

    async fn write(&mut self, text: String) -> io::Result<()> {
        timeout(self.settings.write_timeout, self.stream.get_mut().write_all(text.as_bytes())).await?
    }
}
