//! Files with ten thousand backends are checked and served at once.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
};

use support::{Backend, File, Running, ask, fresh_address, run};

/// `lb` with these arguments and 5 s of a processor, however long that takes: whoever needs more is ended. Who does, has
/// a loop in a loop: these take a tenth of a second.
fn at_once(args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -t 5 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_lb")]).args(args);
    command.stdin(Stdio::null());
    command
}

/// A pool of so many backends that are all the same one, written in each way.
fn files(backend: &Backend, front: SocketAddr, count: usize) -> [File; 4] {
    let (port, service) = (backend.address.port(), format!("[services.www]\nlisten = \"{front}\"\npool = \"web\"\n"));
    let words: Vec<String> = (0..count).map(|_| format!("{}:{port}", backend.address.ip())).collect();
    let each = |form: &dyn Fn(&String) -> String| words.iter().map(form).collect::<String>();
    let group = |selector: &str, backends: String| {
        format!("{service}[[pools.web.groups]]\nselector = \"{selector}\"\nbackends = [\n{backends}]\n")
    };
    [
        format!("{service}[pools.web]\ngroups = \"{}\"\n", words.join(" ")),
        group("least-loaded", each(&|word| format!("\"{word}:256:2\",\n"))),
        group("round-robin", each(&|word| format!("{{ name = \"{word}\", limit = 256, weight = 2 }},\n"))),
        group("bucket-fill", each(&|word| format!("\"{word}\",\n"))),
    ]
    .map(|text| File::new(&text))
}

#[test]
fn ten_thousand_backends_are_there_at_once() {
    let (alpha, front) = (Backend::start("alpha"), fresh_address());
    for file in files(&alpha, front, 10_000) {
        let said = run(&mut at_once(&["check", &file.path]));
        assert!(said.stdout.ends_with(b"good: 1 service, 1 pool, 10000 backends\n"), "{said:?}");
        let lb = Running::spawn(at_once(&["run", "--config", &file.path]).stdout(Stdio::null()));
        lb.line_with("10000 backends in 1 group");
        assert_eq!(ask(front), "alpha");
    }
}
