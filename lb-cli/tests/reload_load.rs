//! Reloads and orders while many clients come: nobody notices.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod support;

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, UdpSocket},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use support::{
    Backend, Brief, File, Http, Load, PATIENCE, Running, Session, ask, bare_command, clients, fresh_address, fresh_ip,
    visit, wait_for,
};

/// Changes of each kind: reloads, and orders.
const CHANGES: u32 = 50;
/// Clients from one to the next at least, and how quickly they come.
const CLIENTS_BETWEEN: usize = 20;
const CLIENTS_EACH_SECOND: u32 = 1_000;

/// Everything in an `lb run` that is changed under its clients' feet.
struct Stage {
    file: File,
    nodes: String,
    http: Http,
    /// Clients come there.
    front: SocketAddr,
    /// A place that comes and goes.
    other: SocketAddr,
    /// A pool that nothing is said about.
    turns: SocketAddr,
    backends: HashMap<&'static str, Brief>,
}

impl Stage {
    fn new() -> Self {
        let names = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "one", "two"];
        let [front, other, turns] = [(); 3].map(|()| fresh_address());
        let file = File::new("");
        let nodes = file.directory.join("nodes");
        let backends = names.map(|name| (name, Brief::start(name, fresh_address())));
        let stage =
            Self { file, nodes, http: Http::Tcp(fresh_address()), front, other, turns, backends: backends.into() };
        stage.has_nodes(&["delta"]);
        stage.rewrite(0);
        stage
    }

    fn word(&self, name: &str) -> String {
        self.backends[name].address.to_string()
    }

    fn has_nodes(&self, names: &[&str]) {
        let text: String = names.iter().map(|name| format!("{}\n", self.word(name))).collect();
        fs::write(&self.nodes, text).unwrap();
    }

    /// The file says something else for each of five numbers in a row; alpha, beta and the pool of turns are always
    /// there.
    fn rewrite(&self, at: u32) {
        let words = |words: &[(&str, &str)]| {
            let words: Vec<String> =
                words.iter().map(|(name, more)| format!("\"{}{more}\"", self.word(name))).collect();
            words.join(", ")
        };
        let all = words(&[("alpha", ""), ("beta", ""), ("gamma", "")]);
        let backends = match at % 5 {
            1 => words(&[("alpha", ""), ("beta", "")]),
            2 => words(&[("alpha", ":500:2"), ("beta", ":400"), ("gamma", "::3")]),
            _ => all,
        };
        let listen = match at % 5 {
            3 => format!("[\"{}\", \"{}\"]", self.front, self.other),
            _ => format!("\"{}\"", self.front),
        };
        let settings = match at % 5 {
            4 => "connect_timeout = \"3s\"\nidle_timeout = \"30s\"\nclient_keepalive = \"60,10,3\"\n",
            _ => "",
        };
        let text = format!(
            "[services.www]\nlisten = {listen}\npool = \"web\"\n{settings}\n\
             [[pools.web.groups]]\nbackends = [{backends}]\nnodes = \"{}\"\n\
             [services.turns]\nlisten = \"{}\"\npool = \"turns\"\n[pools.turns]\ngroups = \"{} {}\"\n",
            self.nodes,
            self.turns,
            self.word("one"),
            self.word("two"),
        );
        self.file.rewrite_with_control(&text, &format!("http = \"{}\"", self.http.word()));
    }

    /// The number of a backend's channel, and how often it was picked.
    fn channel(&self, name: &str) -> (usize, u64) {
        let (channels, name) = (self.file.channels(self.front, 0), self.word(name));
        let at = channels.iter().position(|channel| channel["name"] == name).unwrap();
        (at, channels[at]["picked"].as_u64().unwrap())
    }

    /// Reloads, and waits until it is done. The log does not tell of each of so many.
    fn reload(&self, at: u32, lb: &Running) {
        self.rewrite(at);
        if at.is_multiple_of(2) {
            lb.signal(Signal::HUP);
        } else {
            self.file.must(self.front, "reload");
        }
        wait_for("a reload", || self.http.get("/v1/diff").json()["lines"] == serde_json::json!([]));
    }

    /// An order of another kind for each number, by -c and over HTTP.
    fn order(&self, at: u32) {
        let over_http = |name: &str, verb: &str, body: &str| {
            let path = format!("/v1/pools/web/groups/0/channels/{}/{verb}", self.channel(name).0);
            self.http.post(&path, body).good();
        };
        let by_command = |order: &str| drop(self.file.must(self.front, order));
        match at % 5 {
            0 if at == 0 => {
                let zeta = self.backends["zeta"].address;
                by_command(&format!("create {} {}", zeta.ip(), zeta.port()));
                over_http("zeta", "enable", "");
            }
            0 => over_http("zeta", if at.is_multiple_of(2) { "drain" } else { "enable" }, ""),
            1 => by_command(&format!("disable {}", self.channel("beta").0)),
            2 => over_http("beta", "enable", ""),
            3 => over_http("alpha", "weight", &format!("{{\"weight\": {}}}", 1 + at % 3)),
            _ if at % 10 == 4 => self.has_nodes(if at % 20 == 4 { &["delta", "epsilon"] } else { &["delta"] }),
            _ => by_command(&format!("weight {} 2", self.channel("beta").0)),
        }
    }
}

#[test]
fn no_client_notices_fifty_reloads_and_fifty_orders() {
    let stage = Stage::new();
    let lb = stage.file.run();
    let _ = [(); 2].map(|()| lb.line_with("listening on"));
    let (began, mut turns) = (Instant::now(), Vec::new());
    let visits = Load::meanwhile(
        |load| clients(stage.front, 4, CLIENTS_EACH_SECOND, load),
        |load| {
            let mut counted = [0, 0];
            for at in 0..CHANGES {
                for change in [&|| stage.reload(at, &lb), &|| stage.order(at)] as [&dyn Fn(); 2] {
                    change();
                    let now = ["alpha", "beta"].map(|name| stage.channel(name).1);
                    assert!(now[0] >= counted[0] && now[1] >= counted[1], "counters only grow: {counted:?} {now:?}");
                    counted = now;
                    turns.push(visit(stage.turns).unwrap().0);
                    load.wait_for(CLIENTS_BETWEEN);
                }
            }
        },
    );
    let (count, seconds) = (visits.served.len(), began.elapsed().as_secs_f64());
    println!("{count} clients in {seconds:.1} s, p99 {:?}, longest {:?}", visits.within(990), visits.within(1000));
    assert_eq!(visits.failed, [""; 0], "of {count}");
    for name in ["alpha", "beta"] {
        assert_eq!(stage.channel(name).1, visits.of(name) as u64, "{name}: as many as it has answered");
        assert!(visits.of(name) > 0);
    }
    assert!(["gamma", "delta", "zeta"].iter().all(|name| visits.of(name) > 0), "all of them had clients");
    assert!(turns.windows(2).all(|pair| pair[0] != pair[1]), "the turn goes on: {turns:?}");
    stage.has_nodes(&["epsilon"]);
    wait_for("what the node file says in the end", || {
        let channels = stage.file.channels(stage.front, 0);
        let has = |name: &str| channels.iter().any(|channel| channel["name"] == stage.word(name));
        has("epsilon") && !has("delta")
    });
}

/// What a writer has got to the disk when it is killed, and what is said of it.
#[test]
fn a_writer_that_is_killed_half_way_changes_nothing_and_it_is_said_why() {
    let [alpha, beta] = ["alpha", "beta"].map(Backend::start);
    let front = fresh_address();
    let text = |backend: &Backend| {
        format!("[pools.web]\ngroups = \"{}\"\n[services.www]\nlisten = \"{front}\"\npool = \"web\"\n", backend.word())
    };
    let file = File::new(&text(&alpha));
    let lb = file.run();
    lb.line_with("listening on");
    let mut session = Session::open(front);
    let whole = text(&beta);
    for (half, why) in [
        (&whole[..whole.find("[services").unwrap() - 4], format!("{}:2:", file.path)),
        (&whole[..whole.find("listen").unwrap()], format!("{}:3:", file.path)),
        (&whole[..whole.find("[services").unwrap()], "there is no service".to_owned()),
        ("", "there is no service".to_owned()),
    ] {
        killed_after(&file.path, half);
        assert_eq!(fs::read_to_string(&file.path).unwrap(), half);
        lb.signal(Signal::HUP);
        lb.line_with("not reloaded, everything stays as it is");
        let line = lb.line_with(&file.path);
        assert!(line.contains(&why), "{half:?}: {line}");
        assert_eq!(ask(front), "alpha");
    }
    assert!(session.echoes());
    file.rewrite(&whole);
    lb.signal(Signal::HUP);
    lb.line_with("reloaded: ");
    assert_eq!(ask(front), "beta");
}

/// Writes this into the file and is killed before the rest.
fn killed_after(path: &str, half: &str) {
    let script = "exec > \"$0\"; printf %s \"$1\"; echo half >&2; read rest; printf %s \"$rest\"";
    let mut writer = Command::new("sh")
        .args(["-c", script, path, half])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(writer.stderr.take().unwrap()).read_line(&mut line).unwrap();
    writer.kill().unwrap();
    assert!(line == "half\n" && !writer.wait().unwrap().success(), "{line}");
}

/// A name server that hears and never answers, and an `lb` that asks it.
struct Deaf {
    lb: Running,
    file: File,
    front: SocketAddr,
    http: Http,
    server: UdpSocket,
    _alpha: Backend,
}

impl Deaf {
    fn start() -> Option<Self> {
        let (ip, alpha) = (fresh_ip(), Backend::start("alpha"));
        let Ok(server) = UdpSocket::bind((ip, 53)) else {
            println!("skipped: only root can be a name server");
            return None;
        };
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        let [front, http] = [(); 2].map(|()| fresh_address());
        let (file, http) = (File::new(""), Http::Tcp(http));
        let etc = file.directory.join("etc");
        fs::create_dir(&etc).unwrap();
        fs::write(format!("{etc}/nsswitch.conf"), "hosts: files dns\n").unwrap();
        let patient = format!("nameserver {ip}\noptions timeout:30 attempts:1\n");
        fs::write(format!("{etc}/resolv.conf"), patient).unwrap();
        let prepare =
            "mount --bind $0/resolv.conf /etc/resolv.conf && mount --bind $0/nsswitch.conf /etc/nsswitch.conf";
        let text = |backends: &str| {
            format!("[pools.web]\ngroups = \"{backends}\"\n[services.www]\nlisten = \"{front}\"\npool = \"web\"\n")
        };
        let control = format!("http = \"{}\"", http.word());
        file.rewrite_with_control(&text(&alpha.word()), &control);
        let lb = file.run_in_its_own_file_system(prepare, &etc)?;
        lb.line_with("listening on");
        file.rewrite_with_control(&text(&format!("{} slow.test:80", alpha.word())), &control);
        Some(Self { lb, file, front, http, server, _alpha: alpha })
    }

    /// Until the name is asked for.
    fn is_asked(&self) {
        self.server.recv(&mut [0; 512]).expect("a question");
    }
}

#[test]
fn a_stop_does_not_wait_for_a_reload_whose_names_have_no_answer() {
    for how in ["signal", "command", "http"] {
        let Some(deaf) = Deaf::start() else { return };
        let control = deaf.file.directory.join("control");
        let (front, http) = (deaf.front, deaf.http.clone());
        let asking = thread::spawn(move || match how {
            "command" => {
                let (ip, port) = (front.ip().to_string(), front.port().to_string());
                let mut order = bare_command(&["--control-dir", &control, "-b", &ip, "-c", "reload", &port]);
                drop(support::run(&mut order));
            }
            "http" => drop(http.ask("POST /v1/reload", "", "")),
            _ => {}
        });
        if how == "signal" {
            deaf.lb.signal(Signal::HUP);
        }
        deaf.is_asked();
        assert_eq!(ask(front), "alpha", "clients do not wait");
        assert_eq!(deaf.file.channels(front, 0).len(), 1, "nor does who looks");
        let began = Instant::now();
        deaf.lb.signal(Signal::TERM);
        let (status, lines) = deaf.lb.ended();
        assert!(status.success() && began.elapsed() < Duration::from_secs(3), "{how} {:?} {lines:?}", began.elapsed());
        asking.join().unwrap();
    }
}
