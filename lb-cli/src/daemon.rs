//! Into the background unless `-f`, and not before it serves.
//!
//! There is no fork: the parent starts the same program once more, with a pipe for its stdout, and waits for one line on
//! it. The child does everything that can fail, says its failures on the stderr that it shares with the parent, and only
//! when it serves leaves the session, the directory and the terminal, and sends the line. So the parent's exit status 0
//! means that a client is served, and any other is the child's.
//!
//! A parent that is ended meanwhile, by `^C` or a supervisor that has lost patience, takes the child with it: nobody
//! would know of the one that it leaves behind.

use std::{
    fs::File,
    io::{self, BufRead as _, Read as _, Write as _},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Child, Command, ExitCode, Stdio},
};

use rustix::{
    fs::fstat,
    process::{Pid, Signal, set_parent_process_death_signal, setsid},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
};

use crate::{
    failure::{Failure, Status},
    notify::{self, Notifier},
};

/// Tells the child that it is one. Its value names the pipe (device:inode, as JOURNAL_STREAM does): to a process whose
/// stdout is not that pipe it means nothing, should it ever be inherited.
pub(crate) const VARIABLE: &str = "LB_STARTED_BY";

/// Starts `lb` in the background, and returns the exit status once it serves or has failed.
pub(crate) fn start(notifier: &Notifier) -> Result<ExitCode, Failure> {
    let system = |error: io::Error| Failure::chain(Status::System, &error);
    let (pipe, said_to) = io::pipe().map_err(system)?;
    let mut child = spawn(said_to, notifier)?;
    let mut said = String::new();
    // What is not text is no word of ours.
    let _ = io::BufReader::new(pipe).take(LONGEST).read_line(&mut said);
    match said.strip_prefix(READY).and_then(|status| status.strip_suffix('\n')) {
        Some(status) => {
            // By us, because systemd does not believe others until it has been told of them.
            notifier.ready_as(Pid::from_child(&child), status);
            Ok(ExitCode::SUCCESS)
        }
        None => ended(&mut child),
    }
}

const READY: &str = "ready: ";
const LONGEST: u64 = 4096;

fn spawn(said_to: io::PipeWriter, notifier: &Notifier) -> Result<Child, Failure> {
    let refused = |error: io::Error| Failure::chain(Status::System, &error).about("cannot start in the background");
    // Whoever waits for the end of a pipe that it has left to us does not wait for a daemon. Without /proc it may.
    let _ = lb_net::sys::close_descriptors_on_exec();
    let name = name_of(&said_to).map_err(refused)?;
    let mut arguments = std::env::args_os();
    let mut command = Command::new(std::env::current_exe().map_err(refused)?);
    if let Some(as_typed) = arguments.next() {
        command.arg0(as_typed);
    }
    if let Some(socket) = notifier.name() {
        command.env(notify::VARIABLE, socket);
    }
    // The command holds our end of the pipe and must be gone before the child is listened to.
    command.args(arguments).env(VARIABLE, name).stdin(Stdio::null()).stdout(said_to).spawn().map_err(refused)
}

/// Its status when it ended before it was ready; it has said why.
fn ended(child: &mut Child) -> Result<ExitCode, Failure> {
    let status = child.wait().map_err(|error| Failure::chain(Status::System, &error))?;
    match (status.code(), status.signal()) {
        (Some(code), _) if code != 0 => Ok(ExitCode::from(u8::try_from(code).unwrap_or(Status::System as u8))),
        (_, Some(signal)) => Err(Failure::new(Status::System, format!("ended by signal {signal} before it was ready"))),
        _ => Err(Failure::new(Status::System, "ended before it was ready")),
    }
}

/// A pipe's name in the whole system.
fn name_of(pipe: impl AsFd) -> io::Result<String> {
    let stat = fstat(pipe)?;
    Ok(format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// What the child has of its parent: where to say that it is ready.
#[derive(Debug)]
pub(crate) struct Starter {
    pipe: OwnedFd,
}

impl Starter {
    /// Of the process that this is the part in the background of, if it is one.
    ///
    /// # Errors
    /// When it is, and the system refuses. It must not go on then, or it would start another one.
    pub(crate) fn from_environment() -> io::Result<Option<Self>> {
        let stdout = io::stdout();
        let Ok(name) = std::env::var(VARIABLE) else { return Ok(None) };
        if name_of(&stdout)? != name {
            return Ok(None);
        }
        // Without it a parent that is killed is noticed when it should read the line.
        let _ = set_parent_process_death_signal(Some(Signal::TERM));
        let pipe = stdout.as_fd().try_clone_to_owned()?;
        dup2_stdout(nothing()?)?;
        Ok(Some(Self { pipe }))
    }

    /// Leaves the session, the directory and the terminal, then tells the parent.
    ///
    /// # Errors
    /// When the system refuses, or when the parent is gone.
    pub(crate) fn ready(self, status: &str) -> io::Result<()> {
        let nothing = nothing()?;
        setsid()?;
        std::env::set_current_dir("/")?;
        dup2_stdin(&nothing)?;
        dup2_stderr(&nothing)?;
        // First, because the parent ends as soon as it has read.
        set_parent_process_death_signal(None)?;
        let mut line: String = status.replace(char::is_control, " ").chars().take(1000).collect();
        line.insert_str(0, READY);
        line.push('\n');
        File::from(self.pipe).write_all(line.as_bytes())
    }
}

fn nothing() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}
