//! The example `app_health` under a running balancer: warm-up, load, and a restart of all instances that nobody notices.
#![allow(clippy::unwrap_used, reason = "only tests call it")]

use std::{
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    num::NonZeroU32,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

use lb_core::{
    BackendConfig, Balancer, Config, GroupConfig, Health,
    health::RiseFall,
    rand::{SeedableRng as _, rngs::SmallRng},
};
use lb_net::{
    connect::Addresses,
    http::HttpProxy,
    probe::{Monitor, MonitorSpec},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

/// Longer than anything here takes.
const HUNG: Duration = Duration::from_secs(30);

/// An instance of the application that runs; none outlives its test.
struct App {
    child: Child,
    said: Receiver<String>,
    address: SocketAddr,
}

impl App {
    /// Starts it, with seconds of warm-up and of notice.
    fn start(address: &str, warm_up: &str, notice: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_app_health"));
        let mut child = command.args([address, warm_up, notice, "10"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (say, said) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| say.send(line)));
        let address = said.recv_timeout(HUNG).unwrap();
        let address = address.strip_prefix("listening at ").unwrap().parse().unwrap();
        Self { child, said, address }
    }

    /// Waits until it has printed this line.
    fn says(&self, wanted: &str) {
        while self.said.recv_timeout(HUNG).unwrap() != wanted {}
    }

    fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Its last line, once it has ended by itself.
    fn ended(self) -> String {
        self.said_until_its_end().pop().unwrap()
    }

    /// The lines that nobody has read yet, once it has ended by itself.
    fn said_until_its_end(mut self) -> Vec<String> {
        let lines = self.said.iter().collect();
        assert!(self.child.wait().unwrap().success());
        lines
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that no outgoing connection has, so that whoever restarts finds it free.
fn own_address(host: u8) -> String {
    format!("127.77.{}.{host}:0", std::process::id() % 250 + 1)
}

/// A balancer in front of these, that asks each of them ten times a second.
struct Front {
    balancer: Arc<Balancer<SocketAddr>>,
    address: SocketAddr,
}

impl Front {
    fn new(apps: &[App]) -> Self {
        let spec: MonitorSpec = "http=/health:expect=UP:interval=0.1:timeout=5".parse().unwrap();
        let interval = spec.interval();
        let policy = RiseFall::new(NonZeroU32::MIN, NonZeroU32::MIN).with_intervals(interval, interval);
        let backends = apps.iter().map(|app| BackendConfig::new(app.address.to_string()));
        let config = Config::default().with_group(GroupConfig::new(backends)).with_probes(policy);
        let make = |backend: &BackendConfig| backend.name.parse().unwrap();
        let balancer = Arc::new(Balancer::new(config, Instant::now(), &mut SmallRng::seed_from_u64(7), make));
        tokio::spawn(lb_net::drive(Arc::clone(&balancer)));
        let monitor = Monitor::new(&spec, interval, None);
        tokio::spawn(monitor.run(Arc::clone(&balancer), Addresses::all_addresses));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = HttpProxy::new(Arc::clone(&balancer));
        tokio::spawn(async move { proxy.serve(listener, std::future::pending()).await });
        Self { balancer, address }
    }

    /// Waits until exactly these are up.
    async fn are_up(&self, wanted: &[bool]) {
        let up = || self.balancer.stats().backends.iter().map(|one| one.health == Health::Up).collect::<Vec<_>>();
        let waited = timeout(HUNG, async {
            while up() != wanted {
                // Health has no event here that one could wait for.
                sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "{:?} and not {wanted:?}", up());
    }
}

/// Clients that ask at a steady pace, half of them on kept connections; each second request is a POST, which nobody
/// repeats.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    failed: Arc<Mutex<Vec<String>>>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn on(front: SocketAddr, clients: usize, each_second: u32) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let failed = Arc::<Mutex<Vec<String>>>::default();
        let client = |number: usize| {
            let (stop, answered, failed) = (Arc::clone(&stop), Arc::clone(&answered), Arc::clone(&failed));
            tokio::spawn(async move {
                let mut kept = None;
                let mut pace = tokio::time::interval(Duration::from_secs(1) / each_second);
                for method in ["GET", "POST"].into_iter().cycle() {
                    pace.tick().await;
                    if stop.load(SeqCst) {
                        return;
                    }
                    if number.is_multiple_of(2) {
                        kept = None;
                    }
                    let asked = timeout(Duration::from_secs(10), ask(&mut kept, front, method, "/", "")).await;
                    match asked.unwrap_or_else(|_| Err("no answer".into())) {
                        Ok((200, _)) => drop(answered.fetch_add(1, SeqCst)),
                        other => failed.lock().unwrap().push(format!("{method}: {other:?}")),
                    }
                }
            })
        };
        let clients = (0..clients).map(client).collect();
        Self { stop, answered, failed, clients }
    }

    /// Until so many more requests have been answered.
    async fn goes_on(&self, more: u64) {
        let until = self.answered.load(SeqCst) + more;
        let waited = timeout(HUNG, async {
            while self.answered.load(SeqCst) < until {
                sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "{} of {until} are answered", self.answered.load(SeqCst));
    }

    /// How many requests were answered, and what became of the others.
    async fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, SeqCst);
        for client in self.clients {
            client.await.unwrap();
        }
        let failed = self.failed.lock().unwrap().clone();
        (self.answered.load(SeqCst), failed)
    }
}

/// Status and body of one answer.
async fn ask(
    kept: &mut Option<TcpStream>,
    server: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> Result<(u16, String), String> {
    let error = |error: std::io::Error| error.to_string();
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => TcpStream::connect(server).await.map_err(error)?,
    };
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: app\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.map_err(error)?;
    let mut answer = String::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some((head, body)) = answer.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if length == Some(body.len()) {
                let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or("no status")?;
                let body = body.to_owned();
                *kept = (!head.contains("connection: close")).then_some(stream);
                return Ok((status, body));
            }
        }
        match stream.read(&mut buffer).await.map_err(error)? {
            0 => return Err(format!("it ended with {answer:?}")),
            count => answer.push_str(&String::from_utf8_lossy(&buffer[..count])),
        }
    }
}

async fn post(server: SocketAddr, path: &str, body: &str) -> (u16, String) {
    ask(&mut None, server, "POST", path, body).await.unwrap()
}

/// How many requests an instance has had, and how many before it was warm.
fn counted(last: &str) -> (u64, u64) {
    let numbers: Vec<u64> = last.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers.len(), 2, "{last}");
    (numbers[0], numbers[1])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_all_instances_fails_no_request_and_none_comes_before_the_warm_up() {
    let mut apps: Vec<App> = (1..=3).map(|host| App::start(&own_address(host), "0.1", "3")).collect();
    let front = Front::new(&apps);
    front.are_up(&[true; 3]).await;
    let load = Load::on(front.address, 10, 30);
    for slot in 0..3 {
        let app = apps.remove(slot);
        let address = app.address.to_string();
        app.terminate();
        front.are_up(&[0, 1, 2].map(|other| other != slot)).await;
        assert!(TcpStream::connect(app.address).await.is_ok(), "it serves on until the balancer must have noticed");
        let last = tokio::task::spawn_blocking(move || app.ended()).await.unwrap();
        let (served, early) = counted(&last);
        assert!(last.starts_with("Served(Ok(())): ") && served > 0 && early == 0, "{last}");
        apps.insert(slot, App::start(&address, "0.5", "3"));
        front.are_up(&[true; 3]).await;
        load.goes_on(60).await;
    }
    load.goes_on(100).await;
    let (answered, failed) = load.end().await;
    assert!(failed.is_empty(), "{} of {answered} failed: {:?}", failed.len(), failed.first());
    for app in apps {
        app.terminate();
        let last = tokio::task::spawn_blocking(move || app.ended()).await.unwrap();
        let (served, early) = counted(&last);
        assert!(served > 0 && early == 0, "{last}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_with_too_much_load_is_left_alone_until_that_is_over() {
    let apps: Vec<App> = (11..=12).map(|host| App::start(&own_address(host), "0", "0.1")).collect();
    let front = Front::new(&apps);
    front.are_up(&[true; 2]).await;
    assert_eq!(post(apps[0].address, "/load", "60").await, (200, "YELLOW\n".to_owned()));
    apps[1].says("UP");
    assert_eq!(post(apps[1].address, "/load", "much").await.0, 400);
    // That colour stays for a second.
    let red = timeout(HUNG, async {
        while post(apps[0].address, "/load", "95").await.1 != "RED\n" {
            sleep(Duration::from_millis(50)).await;
        }
    });
    red.await.expect("it becomes red");
    apps[0].says("DOWN: load: RED");
    front.are_up(&[false, true]).await;
    post(apps[0].address, "/load", "10").await;
    apps[0].says("UP");
    front.are_up(&[true; 2]).await;
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let app = App::start(&own_address(21), "0", "3600");
    app.says("UP");
    app.terminate();
    app.says("DOWN: shutting down");
    app.terminate();
    let lines = tokio::task::spawn_blocking(move || app.said_until_its_end()).await.unwrap();
    // Its server may still say that it accepts nobody, before or after that.
    assert!(lines.iter().any(|line| line.starts_with("Hurried: ")), "{lines:?}");
}

#[test]
fn arguments_that_mean_nothing_are_told() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_app_health"));
    let ended = command.args(["127.0.0.1:0", "soon"]).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success() && said.contains("soon: the warm-up is a number of seconds"), "{said}");
}
