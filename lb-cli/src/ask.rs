//! `-i` and `-c`: talk to a running `lb`, with balance's texts and statuses.

use std::{
    io::{self, BufRead, Read as _, Write},
    time::Duration,
};

use lb_net::manage::{Answer, Client, End};

use crate::{
    args::Balance,
    failure::{Failure, Status},
    target::Target,
};

/// How long a killed instance may take to close its port. Sessions have their grace period after that.
const STOP: Duration = Duration::from_secs(5);

/// The longest line that is sent.
const LONGEST: u64 = 64 * 1024;

/// What `-i` or `-c` ask for.
///
/// # Errors
/// When nobody serves there, or a command has failed: that has been printed then.
pub(crate) fn ask(args: &Balance) -> Result<(), Failure> {
    let target = Target::new(args)?;
    args.command.as_deref().map_or_else(|| interactive(&target), |line| command(&target, line))
}

/// `-c`: carries out one line, and prints what comes of it.
///
/// # Errors
/// When nobody serves there, or a command has failed: that has been printed then.
fn command(target: &Target, line: &str) -> Result<(), Failure> {
    carry_out(target, line, &mut io::stdout())
}

/// `-i`: balance's shell, on stdin and stdout.
///
/// # Errors
/// When nobody serves there (any more), or `kill` has failed.
fn interactive(target: &Target) -> Result<(), Failure> {
    converse(target, &mut io::stdin().lock(), &mut io::stdout())
}

fn carry_out(target: &Target, line: &str, output: &mut impl Write) -> Result<(), Failure> {
    let mut client = target.connect()?;
    // Nothing comes after it: so a group that is not there is no place to wait in for a `create`.
    let answer = client.execute(&format!("{}; quit", line.trim_end())).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => Failure::chain(Status::Usage, &error).about("-c"),
        _ => broken(&error),
    })?;
    // Whoever has read enough is no failure, a full disk is.
    match output.write_all(answer.text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(Failure::chain(Status::System, &error).about("cannot write the answer"));
        }
        _ => {}
    }
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
