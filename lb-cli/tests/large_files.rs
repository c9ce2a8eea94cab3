//! Files with ten thousand backends are checked and served at once.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use support::{Backend, File, ask, bare_command, fresh_address, run};

/// What takes so long has a loop in a loop, and not just other work beside it: these take a tenth of a second.
const AT_ONCE: Duration = Duration::from_secs(5);

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
        let began = Instant::now();
        let said = run(&mut bare_command(&["check", &file.path]));
        assert!(said.stdout.ends_with(b"good: 1 service, 1 pool, 10000 backends\n"), "{said:?}");
        assert!(began.elapsed() < AT_ONCE, "check: {:?}", began.elapsed());
        let began = Instant::now();
        let lb = file.run();
        lb.line_with("10000 backends in 1 group");
        assert!(began.elapsed() < AT_ONCE, "run: {:?}", began.elapsed());
        assert_eq!(ask(front), "alpha");
    }
}
