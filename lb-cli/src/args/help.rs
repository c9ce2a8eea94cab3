//! What `--help` and the manual page say beyond the options.

/// Headings of the options.
pub(super) const LISTEN: &str = "Clients";
pub(super) const CHOICE: &str = "Backends";
pub(super) const HEALTH: &str = "Health of backends";
pub(super) const SESSIONS: &str = "Sessions";
pub(super) const CONTROL: &str = "Control of a running lb";
pub(super) const PROCESS: &str = "Process";
pub(super) const LOGS: &str = "Logs";
pub(super) const HTTP: &str = "HTTP";

/// The ways to call it.
pub(crate) const SYNOPSIS: [&str; 8] = [
    "lb [options] PORT backend... [!|%]",
    "lb --http [options] PORT backend... [!|%]",
    "lb [-b ADDRESS] -i|-c COMMANDS PORT",
    "lb run [--config FILE] [--daemon]",
    "lb check [FILE]",
    "lb diff [FILE]|OLD NEW",
    "lb schema",
    "lb demo [options]",
];

/// The words behind the port.
pub(crate) const WORDS: &str = "\
Backends are host[:port[:max[:weight]]]. Parts may be empty, an IPv6 address
goes in brackets, a port may be a service's name. Without a port it is PORT;
max is the number of connections (with --http: requests) at a time, 0 for any
number. A word '!' ends a group: the next group is used when no backend of those
before it can take a connection. A word '%' ends a group in which a client always meets the same
backend.";

/// The words of `-m`, joined by colons.
pub(crate) const CHECKS: [(&str, &str); 16] = [
    ("connect", "it can be connected to"),
    ("http=PATH", "it answers a GET; see below what its body may say"),
    ("command=TEXT", "sh -c TEXT ends well; %H is its address, %P its port, %% a %"),
    ("timeout=SECONDS", "of the check before it; without one it is that of -t"),
    ("expect=TEXT", "the body that an http check must get, such as UP; the line that a connect must get"),
    ("contains=TEXT", "the same, where a part of it is enough; of a connect no word such as DOWN is understood then"),
    ("status=LIST", "the statuses that an http check may get, such as 200,300-399; 200-299"),
    ("header=NAME\\: TEXT", "what it sends besides; may be repeated"),
    ("host=NAME", "the host that it asks for; the backend's name and port"),
    ("send=TEXT", "what a connect says first, such as PING\\r\\n"),
    ("pass=N,N", "the exit statuses with which a command passes; 0"),
    ("interval=SECONDS", "from the begin of a check to that of the next; 60"),
    ("rise=N, fall=N", "checks in a row that bring a backend back, or take it out; 1"),
    ("jitter=FRACTION", "by how much of it an interval is changed at random; 0"),
    ("noenable, nodisable", "bring no backend back; take none out"),
    ("\\", "takes its meaning from a colon or backslash behind it"),
];

/// What backends may say to checks.
pub(crate) const SAID: &str = "\
An application says how it is by one of these words, alone in the body of an http check or in the
line that a connect expects: UP, UP 40% or 40% (it takes so much of its share), DRAIN (no new
clients), DOWN or MAINT (no work at all, and at once). A reason may follow, as in DOWN: no database.";

/// Command lines and what they do.
pub(crate) const EXAMPLES: [(&str, &str); 14] = [
    ("lb 80 alpha beta", "in turn: alpha beta alpha beta ..."),
    ("lb 80 alpha::256 ! beta::64 ! spare", "fill alpha, then beta, then spare"),
    ("lb 80 alpha beta gamma %", "each client has its own backend"),
    ("lb -b 127.0.0.1 8080 [2001:db8::7]:80", "listen on one address"),
    ("lb --select least-loaded 80 a:::3 b", "a takes three times as much as b"),
    ("lb -m connect:interval=5 80 alpha beta", "check both every 5 seconds"),
    ("lb -m http=/up:expect=UP 80 alpha beta", "ask the applications"),
    ("lb --http 80 alpha beta", "each HTTP request to the one with least to do"),
    ("lb --http --key 'cookie id' 80 alpha beta %", "each user has a backend"),
    ("lb -c 'disable 0' 80", "no new connections for the first one"),
    ("lb check lb.toml", "what is wrong with a configuration file"),
    ("lb diff lb.toml", "what a reload of it would change"),
    ("lb run --config lb.toml", "all of its services, in one process"),
    ("lb demo", "see it work, in one process"),
];

/// What it ends with.
pub(crate) const STATUSES: [(&str, &str); 7] = [
    ("0", "stopped as asked, or serving in the background"),
    ("1", "stopped at once by a second signal; or lb diff has found a difference"),
    ("64", "usage, or what a configuration file says"),
    ("65", "a backend"),
    ("69", "the groups, monitoring, control"),
    ("70", "no lb to control"),
    ("71", "the system (address in use, no permission)"),
];

/// What it listens to.
pub(crate) const SIGNALS: [(&str, &str); 4] = [
    ("TERM, INT, QUIT", "accept nobody else, let sessions go on for --grace, end; a second one ends lb at once"),
    (
        "HUP",
        "open access logs again, ask for the addresses of host names again; lb run also loads its file and applies what \
         is new in it",
    ),
    ("USR1", "open access logs again by their names, and nothing else"),
    ("USR2", "nothing: it is for scripts that are used to another server"),
];

/// What it leaves on or reads from the file system.
pub(crate) const FILES: [(&str, &str); 4] = [
    ("/etc/lb/lb.toml", "the configuration of lb run"),
    ("/run/lb/", "sockets for -i and -c, of root only; another user's are in lb/ of its runtime directory"),
    ("/dev/log", "where events go from the background"),
    ("/etc/services", "the names of ports"),
];

/// What it reads from the environment.
pub(crate) const ENVIRONMENT: [(&str, &str); 3] = [
    ("NOTIFY_SOCKET", "where systemd is told that lb is ready, and that it stops"),
    ("JOURNAL_STREAM", "names systemd's journal: lines to it begin with their priority and have no time"),
    ("XDG_RUNTIME_DIR", "the runtime directory of a user that is not root"),
];

pub(crate) const RUN: &str = "\
The file names pools of backends and the services that clients come to; services that share a pool
share its turns, limits and counts. A smallest one:
  [pools.web]
  groups = \"alpha::256 ! beta::64 ! spare\"
  [services.www]
  listen = 80
  pool = \"web\"
lb --print-config prints any other command line of lb as such a file.

Nothing is started when the file is wrong: lb check says the same and starts nothing in any case.
HUP and the control command 'reload' load the file again and apply what is new in it: connections,
counts, health and turns of everything else go on, and a wrong file changes nothing and says why.
lb diff shows beforehand what would change. The user, the workers, [control] and where the log goes
are settled at the start. Node files and names are watched all the time.

-i and -c know a service by where it listens, as ever: lb -c show 80, or lb -b 127.0.0.1 -c show 80
for listen = \"127.0.0.1:80\"; an IPv6 address without its brackets. What is ordered there is ordered of
the pool, and so of all services that share it. 'kill' stops all services.

Exit status: 0 stopped as asked, or serving in the background, 1 stopped at once by a second signal,
64 usage or the file, 65 a backend, 71 the system.";

pub(crate) const CHECK: &str = "\
It says where each mistake stands, what was expected, and the nearest key that there is; then, as
warnings, what is legal and hardly meant. It asks for no name and opens no port; node files are
read.

Exit status: 0 fine, with or without warnings, 64 usage or the file, 71 it cannot be read.";

pub(crate) const DIFF: &str = "\
Each line is one change: + comes, - goes, ~ becomes another. What a running process cannot take over
is marked; everything else takes effect at a reload. Nothing is changed, and a file that is wrong is
told as by lb check.

With one file its services are looked for where the file has them listen and has [control], and the
first lb that answers there tells what it has loaded. What was ordered of it since then (-i, -c) is
neither shown nor undone, unless the file now says something else of the same thing.

Exit status: 0 nothing is different, 1 something is, 64 usage or a file, 69 the running lb does not
tell what it has loaded, 70 no lb runs that serves the file's services, 71 a file or a control socket
cannot be used.";

pub(super) const DEMO: &str = "\
Keys, on a terminal:
  1 2 3   kill or revive a backend; a killed one refuses connections, they go to the others
  s       silence the next backend: it neither takes nor refuses, so another is tried alongside
  q, ^C   quit

Until the first key, and always without a terminal, a timer does this every few seconds: one is
killed, another falls silent, both come back. At the end it says who has answered how often.

Exit status: 0 stopped as asked, 64 usage, 71 the system (the port is in use).";

/// What stands below the options.
pub(super) fn after() -> String {
    let (checks, examples) = (table(&CHECKS), table(&EXAMPLES));
    let statuses: Vec<String> = STATUSES.iter().map(|(status, what)| format!("{status} {what}")).collect();
    let statuses = statuses.join(", ");
    format!(
        "{WORDS}\n\nChecks (-m), joined by colons:\n{checks}\n\n{SAID}\n\nExamples:\n{examples}\n\nExit status: {statuses}."
    )
}

fn table(rows: &[(&str, &str)]) -> String {
    let width = rows.iter().map(|(word, _)| word.len()).max().unwrap_or(0);
    let lines: Vec<String> = rows.iter().map(|(word, what)| format!("  {word:width$}   {what}")).collect();
    lines.join("\n")
}
