//! Child processes: pinned to a CPU, bounded in time, and never left behind.
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions, remove_dir_all, remove_file};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How often a child is asked whether it has ended.
const POLL: Duration = Duration::from_millis(5);

/// How long a process that is asked to end may take.
const END_LIMIT: Duration = Duration::from_secs(2);

/// Where the two sides of a measurement run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpus {
    pub(crate) proxy: CpuSet,
    pub(crate) load: CpuSet,
}

impl Cpus {
    /// One for each worker and as many for the load, of those this process may use; all of them for both if there are too few.
    pub(crate) fn choose(workers: usize) -> io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut usable = numbers(&allowed);
        let proxy = set(usable.by_ref().take(workers));
        let load = set(usable.take(workers));
        Ok(if load.count() == 0 { Self { proxy: allowed, load: allowed } } else { Self { proxy, load } })
    }

    /// Whether the two sides compete.
    pub(crate) fn are_shared(&self) -> bool {
        self.proxy == self.load
    }
}

fn numbers(cpus: &CpuSet) -> impl Iterator<Item = usize> {
    (0..CpuSet::MAX_CPU).filter(|cpu| cpus.is_set(*cpu))
}

fn set(cpus: impl Iterator<Item = usize>) -> CpuSet {
    let mut set = CpuSet::new();
    cpus.for_each(|cpu| set.set(cpu));
    set
}

/// Pins the calling thread, and what it starts from now on.
pub(crate) fn pin(cpus: &CpuSet) -> io::Result<()> {
    Ok(sched_setaffinity(None, cpus)?)
}

/// The hidden command `on-cpu CPU,CPU kill|term PROGRAM ARGS...`: becomes the program, pinned, and ends with its parent.
pub(crate) fn become_pinned(args: &[String]) -> io::Result<()> {
    let [cpus, signal, program, args @ ..] = args else {
        return Err(io::Error::other("on-cpu CPU,CPU kill|term PROGRAM ARGS..."));
    };
    let cpus: Result<Vec<usize>, _> = cpus.split(',').map(str::parse).collect();
    pin(&set(cpus.map_err(io::Error::other)?.into_iter()))?;
    set_parent_process_death_signal(Some(if signal == "term" { Signal::TERM } else { Signal::KILL }))?;
    Err(Command::new(program).args(args).exec())
}

/// A command that will run pinned to `cpus` and end with this process, by this signal; its input and output are pipes.
fn pinned_until(cpus: &CpuSet, signal: &str, program: impl AsRef<OsStr>) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    let cpus = numbers(cpus).map(|cpu| cpu.to_string()).collect::<Vec<_>>().join(",");
    command.arg("on-cpu").arg(cpus).arg(signal).arg(program);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command)
}

/// One that is killed.
pub(crate) fn pinned(cpus: &CpuSet, program: impl AsRef<OsStr>) -> io::Result<Command> {
    pinned_until(cpus, "kill", program)
}

/// One that is asked to end, since it has children to end.
pub(crate) fn pinned_parent(cpus: &CpuSet, program: impl AsRef<OsStr>) -> io::Result<Command> {
    pinned_until(cpus, "term", program)
}

/// This program again, in another role.
pub(crate) fn helper(cpus: &CpuSet, role: &str, args: &[String]) -> io::Result<Running> {
    let mut command = pinned(cpus, std::env::current_exe()?)?;
    command.arg(role).args(args);
    Running::start(&mut command)
}

/// A child that is ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// Whether it is asked to before it is killed.
    is_parent: bool,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        Ok(Self { child: command.spawn()?, is_parent: false })
    }

    /// The same, and it will be asked to end, since it has children to end.
    pub(crate) fn start_parent(command: &mut Command) -> io::Result<Self> {
        Ok(Self { child: command.spawn()?, is_parent: true })
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

    /// Whether it has ended within `limit`.
    fn ends_within(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while !self.ended() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(POLL);
        }
        true
    }

    /// Whatever it printed when it ends by itself; an error if that takes longer than `limit`.
    pub(crate) fn finish(mut self, limit: Duration) -> io::Result<String> {
        if !self.ends_within(limit) {
            return Err(io::ErrorKind::TimedOut.into());
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
        if let Some(pid) = Pid::from_raw(self.child.id() as i32).filter(|_| self.is_parent && !self.ended()) {
            let _ = kill_process(pid, Signal::TERM);
            self.ends_within(END_LIMIT);
        }
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A path in the folder for temporary files that nothing has yet.
fn new_path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("lb-benches-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    std::env::temp_dir().join(name)
}

/// A file without a name: a configuration to be read or a log to be written, gone when it is closed.
pub(crate) fn scratch(content: &str) -> io::Result<File> {
    let path = new_path();
    let mut file = OpenOptions::new().read(true).append(true).create_new(true).open(&path)?;
    remove_file(path)?;
    file.write_all(content.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// A folder that is gone, with all that is in it, when this is dropped.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> io::Result<Self> {
        let path = new_path();
        DirBuilder::new().mode(0o755).create(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system, as all temporary files are.
        let _ = remove_dir_all(&self.0);
    }
}
