//! Child processes: pinned to a CPU, bounded in time, and never left behind.
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions, remove_file};
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How often a child is asked whether it has ended.
const POLL: Duration = Duration::from_millis(5);

/// Where the two sides of a measurement run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpus {
    pub(crate) proxy: usize,
    pub(crate) load: usize,
}

impl Cpus {
    /// The first two this process may use; the same one twice if it has no other.
    pub(crate) fn choose() -> io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut usable = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
        let proxy = usable.next().unwrap_or(0);
        Ok(Self { proxy, load: usable.next().unwrap_or(proxy) })
    }
}

/// Pins the calling thread, and what it starts from now on.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu);
    Ok(sched_setaffinity(None, &only)?)
}

/// The hidden command `on-cpu CPU PROGRAM ARGS...`: becomes the program, pinned, and dies with its parent.
pub(crate) fn become_pinned(args: &[String]) -> io::Result<()> {
    let [cpu, program, args @ ..] = args else { return Err(io::Error::other("on-cpu CPU PROGRAM ARGS...")) };
    pin(cpu.parse().map_err(io::Error::other)?)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Err(Command::new(program).args(args).exec())
}

/// A command that will run pinned to `cpu` and die with this process; its input and output are pipes.
pub(crate) fn pinned(cpu: usize, program: impl AsRef<OsStr>) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("on-cpu").arg(cpu.to_string()).arg(program);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command)
}

/// This program again, in another role.
pub(crate) fn helper(cpu: usize, role: &str, args: &[String]) -> io::Result<Running> {
    let mut command = pinned(cpu, std::env::current_exe()?)?;
    command.arg(role).args(args);
    Running::start(&mut command)
}

/// A child that is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        Ok(Self { child: command.spawn()? })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The first line it prints.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        let mut byte = [0];
        let Some(stdout) = self.child.stdout.as_mut() else { return Ok(line) };
        while stdout.read(&mut byte)? == 1 && byte[0] != b'\n' {
            line.push(char::from(byte[0]));
        }
        Ok(line)
    }

    /// Whatever it printed when it ends by itself; an error if that takes longer than `limit`.
    pub(crate) fn finish(mut self, limit: Duration) -> io::Result<String> {
        let deadline = Instant::now() + limit;
        while !self.ended() {
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(POLL);
        }
        let mut printed = String::new();
        if let Some(stdout) = self.child.stdout.as_mut() {
            stdout.read_to_string(&mut printed)?;
        }
        Ok(printed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file without a name: a configuration to be read or a log to be written, gone when it is closed.
pub(crate) fn scratch(content: &str) -> io::Result<File> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("lb-benches-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    let mut file = OpenOptions::new().read(true).append(true).create_new(true).open(&path)?;
    remove_file(path)?;
    file.write_all(content.as_bytes())?;
    file.rewind()?;
    Ok(file)
}
