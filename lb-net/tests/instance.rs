//! A running instance, and changes that come at odd moments.
#![cfg(feature = "instance")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use lb_net::{
    config::{self, Model},
    instance::{Attendant, Instance, News},
    manage::{Process as _, http},
};
use tokio::runtime::{Builder, Runtime};

/// An address of this machine that no other test uses.
fn fresh_address() -> SocketAddr {
    static USED: AtomicU16 = AtomicU16::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let last = u8::try_from(USED.fetch_add(1, SeqCst) + 1).unwrap();
    (Ipv4Addr::new(127, 64 | (high & 127), low, last), 17_490).into()
}

/// A file that is a model, and who reads it.
#[derive(Default)]
struct File {
    model: Mutex<Model>,
    reads: Mutex<usize>,
    was_read: Condvar,
}

impl Attendant for File {
    fn tell(&self, _: &News<'_>) {}

    fn load(&self) -> Result<Model, String> {
        let model = self.model.lock().unwrap().clone();
        *self.reads.lock().unwrap() += 1;
        self.was_read.notify_all();
        Ok(model)
    }
}

/// An instance, on a runtime that runs nothing until it is told to.
struct World {
    directory: PathBuf,
    file: Arc<File>,
    _runtime: Runtime,
    instance: Arc<Instance>,
}

impl World {
    fn new() -> Self {
        static USED: AtomicUsize = AtomicUsize::new(0);
        let name = format!("lb-instance-{}-{}", std::process::id(), USED.fetch_add(1, SeqCst));
        let (file, runtime) = (Arc::<File>::default(), Builder::new_current_thread().enable_all().build().unwrap());
        let attendant = Arc::clone(&file) as Arc<dyn Attendant>;
        let instance = Instance::new(2, runtime.handle().clone(), attendant).unwrap();
        Self { directory: std::env::temp_dir().join(name), file, _runtime: runtime, instance }
    }

    /// A service at each of these places.
    fn model(&self, places: &[SocketAddr]) -> Model {
        let mut text = format!("control.directory = {:?}\npools.web.groups = '127.0.0.1:9'\n", self.directory);
        for (at, place) in places.iter().enumerate() {
            text += &format!("[services.s{at}]\nlisten = '{place}'\npool = 'web'\n");
        }
        config::parse(&text).unwrap().model
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.instance.stop();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn a_place_that_is_closed_can_be_had_again_at_once() {
    let (world, [front, other]) = (World::new(), [fresh_address(), fresh_address()]);
    let (one, two) = (world.model(&[front]), world.model(&[front, other]));
    for _ in 0..50 {
        world.instance.apply(&two).unwrap();
        assert!(TcpStream::connect(other).is_ok());
        world.instance.apply(&one).unwrap();
    }
}

#[test]
fn the_control_socket_of_a_place_goes_with_it() {
    let (world, [front, other]) = (World::new(), [fresh_address(), fresh_address()]);
    let sockets = || fs::read_dir(&world.directory).unwrap().count();
    world.instance.apply(&world.model(&[front, other])).unwrap();
    assert_eq!(sockets(), 2);
    world.instance.apply(&world.model(&[front])).unwrap();
    assert_eq!(sockets(), 1);
    world.instance.stop();
    assert_eq!(sockets(), 0);
}

#[test]
fn a_place_that_could_have_no_control_socket_gets_one_at_the_next_reload_that_can() {
    let (world, [front, other]) = (World::new(), [fresh_address(), fresh_address()]);
    world.instance.apply(&world.model(&[front])).unwrap();
    let in_the_way = world.directory.join(format!("{}.{}", other.port(), other.ip()));
    fs::write(&in_the_way, "").unwrap();
    let two = world.model(&[front, other]);
    world.instance.apply(&two).unwrap();
    assert!(TcpStream::connect(other).is_ok());
    world.instance.apply(&two).unwrap();
    fs::remove_file(&in_the_way).unwrap();
    world.instance.apply(&two).unwrap();
    assert!(in_the_way.join("control").exists());
}

#[test]
fn who_reloads_while_others_do_reads_what_is_there_when_they_have_done() {
    let (world, [front, other]) = (World::new(), [fresh_address(), fresh_address()]);
    let (one, two) = (world.model(&[front]), world.model(&[front, other]));
    world.file.model.lock().unwrap().clone_from(&one);
    let prepared = world.instance.prepare(&one).unwrap();
    thread::scope(|scope| {
        let ((begin, begun), instance) = (mpsc::channel(), &world.instance);
        let reloading = scope.spawn(move || {
            begin.send(()).unwrap();
            instance.reload()
        });
        begun.recv().unwrap();
        // Whoever reads too early does so within this time.
        let reads = world.file.reads.lock().unwrap();
        drop(world.file.was_read.wait_timeout_while(reads, Duration::from_millis(200), |reads| *reads == 0));
        world.file.model.lock().unwrap().clone_from(&two);
        prepared.commit();
        assert!(reloading.join().unwrap().is_ok());
    });
    assert_eq!(world.instance.services().len(), 2);
}

/// Somebody who sends back what he gets.
fn echoing() -> SocketAddr {
    let listener = TcpListener::bind(fresh_address()).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map(Result::unwrap) {
            thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    address
}

/// Whether this comes back as it is.
fn echoes(stream: &mut TcpStream) -> bool {
    let mut said = [0; 7];
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // No request either.
    stream.write_all(b"hello\r\n").is_ok() && stream.read_exact(&mut said).is_ok() && &said == b"hello\r\n"
}

#[test]
fn a_place_changes_its_role_between_two_clients() {
    let (world, front, backend) = (World::new(), fresh_address(), echoing());
    let model = |role: &str| {
        let text = format!(
            "control.directory = {:?}\npools.web.groups = '{backend}'\n\
             [services.www]\nlisten = '{front}'\npool = 'web'\nrole = '{role}'\ngrace = '100ms'",
            world.directory
        );
        config::parse(&text).unwrap().model
    };
    world.instance.apply(&model("tcp")).unwrap();
    let mut sessions = vec![TcpStream::connect(front).unwrap()];
    assert!(echoes(&mut sessions[0]));
    for round in 0..20 {
        world.instance.apply(&model("http")).unwrap();
        assert!(!echoes(&mut TcpStream::connect(front).unwrap()), "round {round}");
        world.instance.apply(&model("tcp")).unwrap();
        sessions.push(TcpStream::connect(front).unwrap());
        assert!(sessions.iter_mut().all(echoes), "round {round}: who was there stays");
    }
    // Its places are closed as one, whatever they have been.
    world.instance.apply(&model("http")).unwrap();
    world.instance.stop();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(world.instance.ended());
    assert!(ended.failure.is_none());
    assert_eq!(ended.cut, sessions.len(), "after their grace period");
    assert!(TcpStream::connect(front).is_err());
}

#[test]
fn that_control_has_failed_is_told_with_its_cause() {
    let error = http::ServeError::from(std::io::Error::other("no descriptor is left"));
    let text = News::ControlFailed(&error).to_string();
    assert_eq!(text, "cannot be controlled: cannot serve HTTP: no descriptor is left");
}

#[test]
fn its_grace_is_the_longest_of_all_services() {
    let (world, [front, other]) = (World::new(), [fresh_address(), fresh_address()]);
    assert_eq!(world.instance.grace(), Duration::ZERO);
    let text = world.model(&[front, other]).to_toml();
    let text = text.replace("[services.s0]", "[services.s0]\ngrace = '70s'");
    world.instance.apply(&config::parse(&text).unwrap().model).unwrap();
    assert_eq!(world.instance.grace(), Duration::from_secs(70));
}

#[test]
fn an_access_log_is_opened_with_its_service_and_again_when_it_was_rotated() {
    let world = World::new();
    let (front, log) = (fresh_address(), world.directory.with_extension("log"));
    let model = |log: &std::path::Path| {
        let log = log.display().to_string().parse().unwrap();
        let http = config::Http::default().with_access_log(Some(log)).unwrap();
        let place = front.to_string().parse().unwrap();
        let service = config::Service::new(place, "web".parse().unwrap(), config::Sessions::default()).with_http(http);
        world.model(&[]).with_service("www".parse().unwrap(), service).unwrap()
    };
    let error = world.instance.apply(&model("/nowhere/www.log".as_ref())).unwrap_err();
    assert_eq!(error.to_string(), "service 'www'");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("/nowhere/www.log"));
    world.instance.apply(&model(&log)).unwrap();
    assert!(log.exists());
    let http = world.instance.services()[0].http.clone().unwrap();
    assert_eq!((http.requests, http.open), (0, 0));
    fs::remove_file(&log).unwrap();
    world.instance.reopen_logs();
    assert!(world.instance.finish_logs(Duration::from_secs(20)));
    assert!(log.exists());
    fs::remove_file(&log).unwrap();
}

/// Asks for this.
fn ask(front: SocketAddr, target: &str) -> TcpStream {
    let mut client = TcpStream::connect(front).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(client, "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    client
}

/// What it is told.
fn answer(mut client: TcpStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

/// The next request that comes to this backend: who answers it, and what is asked for.
fn next_request(backend: &TcpListener) -> (TcpStream, String) {
    let (mut stream, mut head) = (backend.accept().unwrap().0, Vec::new());
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    (stream, head.split(' ').nth(1).unwrap().to_owned())
}

#[test]
fn the_services_of_a_pool_wait_in_one_line_for_its_places() {
    let (world, [one, two]) = (World::new(), [fresh_address(), fresh_address()]);
    let backend = TcpListener::bind(fresh_address()).unwrap();
    let text = format!(
        "control.directory = {:?}\npools.web.groups = '{}:1'\n\
         [services.one]\nlisten = '{one}'\npool = 'web'\nrole = 'http'\nhttp.queue.length = 1\n\
         [services.two]\nlisten = '{two}'\npool = 'web'\nrole = 'http'\nhttp.queue.length = 2\n",
        world.directory,
        backend.local_addr().unwrap()
    );
    world.instance.apply(&config::parse(&text).unwrap().model).unwrap();
    let waiting =
        || world.instance.services().iter().flat_map(|service| &service.http).map(|http| http.waiting).sum::<u64>();
    let waits_for = |count: u64| {
        let begin = Instant::now();
        while count > waiting() {
            assert!(begin.elapsed() < Duration::from_secs(20), "in line are {}", waiting());
            thread::sleep(Duration::from_millis(1));
        }
    };
    let mut clients = vec![ask(one, "/0")];
    let (mut stream, target) = next_request(&backend);
    assert_eq!(target, "/0");
    for (at, front) in [(1, two), (2, one), (3, two)] {
        clients.push(ask(front, &format!("/{at}")));
        waits_for(at);
    }
    // Each has as many in line as it may.
    for front in [one, two] {
        assert!(answer(ask(front, "/late")).contains("lb-reason: all-full"));
    }
    for (at, client) in clients.into_iter().enumerate() {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        assert!(answer(client).starts_with("HTTP/1.1 200 "));
        if at < 3 {
            let next = next_request(&backend);
            assert_eq!(next.1, format!("/{}", at + 1), "in the order of arrival");
            stream = next.0;
        }
    }
}

/// Somebody whom the end of a place is too much for.
struct Fragile(mpsc::Sender<()>);

impl Attendant for Fragile {
    fn tell(&self, news: &News<'_>) {
        if matches!(news, News::Closed { .. }) {
            self.0.send(()).unwrap();
            panic!("it is too much");
        }
    }
}

/// An instance that is told so, at two places over somebody who echoes.
struct FragileWorld {
    world: World,
    runtime: Runtime,
    instance: Arc<Instance>,
    panics: mpsc::Receiver<()>,
    backend: SocketAddr,
}

impl FragileWorld {
    fn new() -> Self {
        let (world, runtime) = (World::new(), Builder::new_current_thread().enable_all().build().unwrap());
        let (panicking, panics) = mpsc::channel();
        let instance = Instance::new(2, runtime.handle().clone(), Arc::new(Fragile(panicking))).unwrap();
        Self { world, runtime, instance, panics, backend: echoing() }
    }

    fn apply(&self, places: &[SocketAddr]) {
        let text = self.world.model(places).to_toml().replace("127.0.0.1:9", &self.backend.to_string());
        self.instance.apply(&config::parse(&text).unwrap().model).unwrap();
    }

    /// Why it has ended, if it does within so many milliseconds.
    fn ended(&self, within: u64) -> Option<String> {
        let ended = async { tokio::time::timeout(Duration::from_millis(within), self.instance.ended()).await };
        self.runtime.block_on(ended).ok().map(|ended| ended.failure.unwrap().to_string())
    }
}

#[test]
fn a_panic_at_the_end_of_a_place_ends_the_instance_and_others_are_served_until_then() {
    let (fragile, [front, other]) = (FragileWorld::new(), [fresh_address(), fresh_address()]);
    fragile.apply(&[front, other]);
    fragile.apply(&[front]);
    assert!(fragile.ended(20_000).is_some(), "told at once");
    // The system spreads them over the workers' listeners.
    for client in 0..40 {
        assert!(echoes(&mut TcpStream::connect(front).unwrap()), "client {client}");
    }
    fragile.instance.stop();
    assert_eq!(fragile.ended(20_000).unwrap(), "a worker has panicked");
}

#[test]
fn a_panic_after_the_stop_takes_no_time_from_the_sessions_of_other_places() {
    let (fragile, [front, other]) = (FragileWorld::new(), [fresh_address(), fresh_address()]);
    fragile.apply(&[front, other]);
    let [mut stays, mut goes] = [front, other].map(|place| TcpStream::connect(place).unwrap());
    assert!(echoes(&mut stays) && echoes(&mut goes));
    fragile.apply(&[front]);
    fragile.instance.stop();
    drop(goes);
    fragile.panics.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(fragile.ended(100), None, "before the last session");
    assert!(echoes(&mut stays));
    drop(stays);
    assert_eq!(fragile.ended(20_000).unwrap(), "a worker has panicked");
}
