//! `-i` and `-c`: talk to a running `lb`, with balance's texts and statuses.

use std::{
    io::{self, BufRead, Read as _, Write},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use lb_core::{BackendConfig, Balancer};
use lb_net::{
    connect::Addresses as _,
    manage::{self, Answer, Client, ConnectError, ControlSocket, End, Fleet, Managed, Place, PlaceError, Settings},
    probe::Switch,
    resolve::{self, Endpoint},
};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType, bind, socket, sockopt},
    process::{Signal, getpid, kill_process},
};
use tokio::{sync::Notify, time::sleep};

use crate::{
    args::Balance,
    failure::{Failure, Status},
    log::{Entry, Level, Log},
    plan::endpoint,
    user::Identity,
};

/// How long a killed instance may take to close its port. Sessions have their grace period after that.
const STOP: Duration = Duration::from_secs(5);

/// Between two looks whether the port is closed.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// The longest line that is sent.
const LONGEST: u64 = 64 * 1024;

/// The instance that a command line is about.
#[derive(Debug)]
pub(crate) struct Target {
    place: Place,
}

impl Target {
    /// The one that serves this port on what `-b` says, word for word.
    ///
    /// # Errors
    /// When the port is none.
    pub(crate) fn new(args: &Balance) -> Result<Self, Failure> {
        let port = resolve::port(&args.port).map_err(|error| Failure::chain(Status::Usage, &error))?;
        let place = Place::new(args.control_dir.as_deref(), port, args.bind.as_deref());
        Ok(Self { place: place.map_err(|error| misplaced(&error))? })
    }

    /// The path of its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.place.socket()
    }

    /// The control socket of an instance that starts.
    ///
    /// # Errors
    /// When another one serves there, or the directory is none to trust.
    pub(crate) fn claim(&self) -> Result<ControlSocket, Failure> {
        ControlSocket::claim(&self.place).map_err(|error| misplaced(&error))
    }

    fn connect(&self) -> Result<Client, Failure> {
        Client::connect(&self.place).map_err(|error| match &error {
            ConnectError::Absent(_) => Failure::chain(Status::NoMaster, &error)
                .about("no master process")
                .with_remedy("PORT, -b and --control-dir must be those that it was started with"),
            ConnectError::Stale(_) => Failure::chain(Status::Groups, &error).about("no master process"),
            ConnectError::Refused(_) => Failure::chain(Status::Groups, &error),
            ConnectError::Place(error) => misplaced(error),
            _ => Failure::chain(Status::System, &error),
        })
    }
}

/// What is wrong with the place of a control socket, and what can be done about it.
fn misplaced(error: &PlaceError) -> Failure {
    let failure = Failure::chain(Status::System, error);
    match error {
        PlaceError::InUse { .. } | PlaceError::Exposed { .. } | PlaceError::Busy(_) => failure,
        _ => failure.with_remedy("--control-dir names another directory for it"),
    }
}

/// What `-i` or `-c` ask for.
///
/// # Errors
/// When nobody serves there, or a command has failed: that has been printed then.
pub(crate) fn ask(args: &Balance) -> Result<(), Failure> {
    let target = Target::new(args)?;
    args.command.as_deref().map_or_else(|| interactive(&target), |line| command(&target, line))
}

/// The backends as control sessions see them, and what lets a monitor pause.
pub(crate) fn fleet(
    balancer: &Arc<Balancer<Endpoint>>,
    args: &Balance,
    port: u16,
    monitor: Option<Switch>,
) -> Arc<dyn Fleet> {
    let resolve = move |backend: &BackendConfig| endpoint(backend, port).map_err(|error| error.to_string());
    let unresolved = |backend: &BackendConfig| Endpoint::with_addresses(backend.host_and_port().0, 0, Vec::new());
    let kill = || {
        // As balance does, and everything else that TERM does follows. To oneself it cannot fail.
        let _ = kill_process(getpid(), Signal::TERM);
    };
    let fleet = Managed::new(Arc::clone(balancer), resolve, unresolved, |endpoint: &Endpoint| endpoint.address(0));
    let fleet = fleet.with_hash_failover(args.hash_failover).with_kill(kill);
    Arc::new(match monitor {
        Some(switch) => {
            let seen = switch.clone();
            fleet.with_monitor(move || seen.is_enabled(), move |enabled| switch.set_enabled(enabled))
        }
        None => fleet,
    })
}

/// Serves control sessions until stopping has `begun`. That it cannot is no reason to serve clients no longer.
pub(crate) async fn serve(
    socket: ControlSocket,
    fleet: Arc<dyn Fleet>,
    begun: Arc<Notify>,
    address: Option<SocketAddr>,
    log: Log,
) {
    let served = manage::serve(socket, fleet, Settings::default(), begun.notified(), closed(address));
    if let Err(error) = served.await {
        log.write(&Entry::new(Level::Error, "control-failed", format!("cannot be controlled: {error}")));
    }
}

/// Gives the control socket to the user that `lb` becomes.
pub(crate) fn hand_over(socket: &ControlSocket, user: &Identity) -> Result<(), Failure> {
    let (user, group) = user.ids();
    let handed_over = socket.hand_over(user, group);
    handed_over.map_err(|error| Failure::chain(Status::System, &error).about("cannot hand over the control socket"))
}

/// Completes when nobody listens any more: who has killed this instance may start the next. Workers close the port within
/// a moment; that another program listens there now keeps nobody waiting for long.
async fn closed(address: Option<SocketAddr>) {
    let began = Instant::now();
    while address.is_some_and(is_listened_on) && began.elapsed() < STOP / 2 {
        sleep(LOOK_AGAIN).await;
    }
}

/// Whether the system would let nobody else listen there. It is bound to and not listened on: no client can tell.
fn is_listened_on(address: SocketAddr) -> bool {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let bound = socket(family, SocketType::STREAM, None).and_then(|socket| {
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, false)?;
        }
        bind(&socket, &address)
    });
    bound == Err(Errno::ADDRINUSE)
}

/// `-c`: carries out one line, and prints what comes of it.
///
/// # Errors
/// When nobody serves there, or a command has failed: that has been printed then.
pub(crate) fn command(target: &Target, line: &str) -> Result<(), Failure> {
    carry_out(target, line, &mut io::stdout())
}

/// `-i`: balance's shell, on stdin and stdout.
///
/// # Errors
/// When nobody serves there (any more), or `kill` has failed.
pub(crate) fn interactive(target: &Target) -> Result<(), Failure> {
    converse(target, &mut io::stdin().lock(), &mut io::stdout())
}

fn carry_out(target: &Target, line: &str, output: &mut impl Write) -> Result<(), Failure> {
    let mut client = target.connect()?;
    let answer = client.execute(line).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => Failure::chain(Status::Usage, &error).about("-c"),
        _ => broken(&error),
    })?;
    print(output, &answer.text);
    if answer.end == Some(End::Kill) {
        ended(&mut client, output)?;
    }
    if answer.failed { Err(Failure::said(Status::Groups)) } else { Ok(()) }
}

fn converse(target: &Target, input: &mut impl BufRead, output: &mut impl Write) -> Result<(), Failure> {
    let mut client = target.connect()?;
    let mut group = 0;
    let master = |client: &Client| format!("PID of master process is {}\n", client.pid());
    print(output, &format!("\nbalance.fm 1.0.0 interactive command shell\n{}\n", master(&client)));
    loop {
        // Who does not see the prompt any more types nothing that is meant.
        if !print(output, &format!("balance.fm[{group}] ")) {
            return Ok(());
        }
        let Some(line) = read_line(input).map_err(|error| Failure::chain(Status::System, &error))? else {
            print(output, "\n");
            return Ok(());
        };
        if line.trim().is_empty() {
            continue;
        }
        if !client.is_open() {
            let before = client.pid();
            client = target.connect()?;
            if client.pid() != before {
                print(output, &master(&client));
            }
            let answer = client.execute(&format!("group {group}")).map_err(|error| broken(&error))?;
            print(output, &answer.text);
        }
        let answer = match client.execute(&line) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                print(output, &format!("{error}\n"));
                continue;
            }
            answer => answer.map_err(|error| broken(&error))?,
        };
        print(output, &answer.text);
        group = answer.group;
        match answer {
            Answer { end: None, .. } => {}
            Answer { end: Some(End::Quit), .. } => return Ok(()),
            _ => return ended(&mut client, output),
        }
    }
}

/// Waits for the end of an instance that was killed.
fn ended(client: &mut Client, output: &mut impl Write) -> Result<(), Failure> {
    if client.wait_for_end(STOP).map_err(|error| broken(&error))? {
        print(output, "shutdown complete, exiting.\n");
        Ok(())
    } else {
        print(output, "shutdown failed.\n");
        Err(Failure::said(Status::Groups))
    }
}

fn broken(error: &io::Error) -> Failure {
    Failure::chain(Status::Groups, error).about("no answer from the master process")
}

/// At once, and `false` when nobody reads it any more.
fn print(output: &mut impl Write, text: &str) -> bool {
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).is_ok()
}

/// The next line, with its end; `None` when there is none. What makes it too long to be sent is left out but for a
/// byte, which has it refused.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    (&mut *input).take(LONGEST + 1).read_until(b'\n', &mut line)?;
    let mut rest = Vec::new();
    while line.len() as u64 > LONGEST && line.last() != Some(&b'\n') && rest.last() != Some(&b'\n') {
        rest.clear();
        if (&mut *input).take(LONGEST).read_until(b'\n', &mut rest)? == 0 {
            break;
        }
    }
    Ok(if line.is_empty() { None } else { Some(String::from_utf8_lossy(&line).into_owned()) })
}
