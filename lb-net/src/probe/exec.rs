//! What does a command's exit status say?

use std::{net::SocketAddr, os::unix::process::ExitStatusExt, process::Stdio};

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::{Answer, Probe, Target, tcp::explain};

/// Runs a command with `sh -c` and judges its exit status (balance.fm's `command`).
///
/// `%H` is the backend's address, without brackets, `%P` its port, `%%` a percent sign; any other `%x` stays. The
/// command reads nothing, and what it prints goes nowhere: it runs on `/dev/null`. It leads a process group of its own,
/// and that whole group is killed when the probe is dropped before the command has ended. What the command itself left
/// running in the background when it ended is its own affair.
///
/// A command that fails may only have failed to reach the backend, which is why another address is tried then.
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lb_net::probe::{Answer, Exec, Probe, Target};
/// let target = Target::new("alpha", "127.0.0.1:80".parse()?);
/// let probe = Exec::new("test %H:%P = 127.0.0.1:80");
/// assert_eq!(probe.probe(&target).await, Answer::Passed);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Exec {
    command: String,
    pass: Vec<u8>,
}

impl Exec {
    /// This command, which is to exit with 0.
    #[must_use]
    pub fn new(command: impl Into<String>) -> Self {
        Self { command: command.into(), pass: vec![0] }
    }

    /// With these exit statuses as good ones (`pass=`).
    #[must_use]
    pub fn with_pass(self, pass: impl Into<Vec<u8>>) -> Self {
        Self { pass: pass.into(), ..self }
    }

    fn spawn(&self, target: &Target) -> std::io::Result<Running> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(expand(&self.command, target.address)).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Running)
    }

    fn judge(&self, status: std::process::ExitStatus) -> Answer {
        match status.code() {
            Some(code) if self.pass.iter().any(|pass| i32::from(*pass) == code) => Answer::Passed,
            Some(code) => Answer::Silent(format!("exit status {code}")),
            // We kill no command whose status we wait for: that was somebody else.
            None => Answer::Inconclusive(format!("killed by signal {}", status.signal().unwrap_or_default())),
        }
    }
}

#[async_trait]
impl Probe for Exec {
    async fn probe(&self, target: &Target) -> Answer {
        let ended = match self.spawn(target) {
            Ok(mut running) => running.0.wait().await,
            Err(error) => Err(error),
        };
        ended.map_or_else(|error| Answer::Inconclusive(explain(&error)), |status| self.judge(status))
    }
}

/// A command at work, killed with all it has started when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // There is an id only as long as nobody has waited for it, and so long the kernel gives it to no other group.
        let group = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The command as it is run for this address. What is put in needs no quotes: digits, letters, dots and colons.
fn expand(command: &str, address: SocketAddr) -> String {
    let mut expanded = String::with_capacity(command.len() + 16);
    let mut letters = command.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            expanded.push(letter);
            continue;
        }
        match letters.next() {
            Some('H') => expanded.push_str(&host(address)),
            Some('P') => expanded.push_str(&address.port().to_string()),
            Some('%') => expanded.push('%'),
            other => expanded.extend(['%'].into_iter().chain(other)),
        }
    }
    expanded
}

/// The address without its port; an IPv4 one in its own clothes, a link-local one with its interface.
fn host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(v6) if v6.scope_id() > 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        _ => address.ip().to_canonical().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_address_port_and_percent_are_replaced() {
        let expand = |command, address: &str| expand(command, address.parse().unwrap());
        assert_eq!(expand("a %H %P %% %S %x%", "10.0.0.1:80"), "a 10.0.0.1 80 % %S %x%");
        assert_eq!(expand("%H", "[2001:db8::1]:80"), "2001:db8::1");
        assert_eq!(expand("%H", "[::ffff:10.0.0.1]:80"), "10.0.0.1");
        assert_eq!(expand("%H", "[fe80::1%3]:80"), "fe80::1%3");
        assert_eq!(expand("%%H%%%P", "10.0.0.1:80"), "%H%80");
    }
}
