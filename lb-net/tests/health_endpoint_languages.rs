//! The endpoints in other languages that the documentation shows, run as they stand there but for the port and for
//! the times: for these they wait for a line from us.
#![cfg(feature = "health-endpoint")]
#![allow(clippy::unwrap_used, reason = "only tests call it")]
#![allow(clippy::print_stderr, reason = "what is skipped must be seen")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

/// Longer than anything here takes: who waits that long has hung.
const HUNG: Duration = Duration::from_secs(30);

const CONTRACT: &str = include_str!("../src/health_endpoint/contract.md");

/// The program in this language.
fn shown(language: &str) -> String {
    let (_, rest) = CONTRACT.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// The text with one place of it replaced.
fn with(text: &str, place: &str, by: &str) -> String {
    assert_eq!(text.matches(place).count(), 1, "{place}");
    text.replace(place, by)
}

fn is_there(program: &str, argument: &str) -> bool {
    let found = Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        eprintln!("SKIPPED: there is no {program} here, and what the documentation shows of it is not tested");
    }
    found
}

/// A program that runs; it and its file do not outlive the test.
struct Running {
    child: Child,
    /// What it says; it ends when the program has.
    said: Option<BufReader<ChildStdout>>,
    file: PathBuf,
    port: u16,
}

impl Running {
    /// Runs it; the first thing that it says is its port.
    fn new(program: &str, name: &str, text: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("lb-health-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join(name);
        fs::write(&file, text).unwrap();
        let mut child = Command::new(program)
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut port).unwrap();
        Self { child, said: Some(said), file, port: port.trim().parse().unwrap() }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Waits until the health's body has this, whole or as the only chunk.
    fn says(&self, wanted: &str) {
        let deadline = Instant::now() + HUNG;
        loop {
            let answer = self.get("/health");
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let head = head.to_lowercase();
            assert!(head.contains(" 200 ") && head.contains("content-type: text/plain"), "{answer}");
            let chunk = format!("{:x}\r\n{wanted}\r\n0\r\n\r\n", wanted.len());
            if body == wanted || body == chunk {
                return;
            }
            assert!(Instant::now() < deadline, "{answer}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// Waits until it has ended.
    fn ends(&mut self) {
        let (mut said, (tell, ended)) = (self.said.take().unwrap(), mpsc::channel());
        thread::spawn(move || tell.send(said.read_to_end(&mut Vec::new()).is_ok()));
        assert_eq!(ended.recv_timeout(HUNG), Ok(true), "it does not end");
        self.child.wait().unwrap();
    }

    /// Warms up, serves, and stops in order.
    fn lives(mut self) {
        self.says("DOWN: warming");
        self.go_on();
        self.says("UP");
        assert!(self.get("/").contains("hello"));
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.says("DOWN: shutting down");
        assert!(self.get("/").contains("hello"), "it goes on serving");
        self.go_on();
        self.ends();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(self.file.parent().unwrap());
    }
}

#[test]
fn the_endpoint_in_python_runs() {
    if !is_there("python3", "--version") {
        return;
    }
    let text = with(&shown("python"), "(\"127.0.0.1\", 3001)", "(\"127.0.0.1\", 0)");
    let line = "threading.Thread(target=server.serve_forever).start()\n";
    let text = with(&text, line, &format!("{line}print(server.server_port, flush=True)\n"));
    let text = with(&with(&text, "time.sleep(0.5)", "input()"), "time.sleep(2)", "input()");
    Running::new("python3", "app.py", &text).lives();
}

#[test]
fn the_endpoint_in_java_runs() {
    // A runtime without a compiler has no source launcher.
    if !is_there("javac", "--version") {
        return;
    }
    let text = with(&shown("java"), "\"127.0.0.1\", 3001", "\"127.0.0.1\", 0");
    let line = "server.start();\n";
    let text = with(&text, line, &format!("{line}System.out.println(server.getAddress().getPort());\n"));
    let text = with(&text, "Thread.sleep(500);", "System.in.read();");
    let pause = "Thread.sleep(2000); } catch (InterruptedException e)";
    let text = with(&text, pause, "System.in.read(); } catch (java.io.IOException e)");
    Running::new("java", "App.java", &text).lives();
}
