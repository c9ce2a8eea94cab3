//! `lb demo`: three backends, a balancer and a client in one process; backends die and come back.

mod backend;
mod screen;
mod stage;
mod terminal;
mod view;
mod visitor;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use lb_core::{
    BackendConfig, Balancer, Config, GroupConfig, Start,
    rand::{SeedableRng as _, rngs::SmallRng},
};
use lb_net::{
    TcpProxy,
    listener::{BindError, bind},
    tcp,
};
use tokio::{
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout},
};

use self::{
    screen::Screen,
    stage::Stage,
    view::{Rates, View},
    visitor::{Visit, Visits, visit},
};
use crate::{
    args,
    failure::{Failure, Status},
    listen::cannot_listen,
    serve::single_threaded,
    signals::Signals,
};

const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];

/// Where it listens unless told otherwise, and if nobody else does.
const PORT: u16 = 8080;

/// Shorter than `lb`'s own: a silent backend is to be seen as a failed connect before it is revived.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

const KEYS: &str = "keys: 1 2 3 kill or revive a backend, s makes the next one silent, q quits";

/// Plays until it is told to stop.
pub(crate) fn run(args: &args::Demo) -> Result<(), Failure> {
    let listener = listen(args.port).map_err(|error| cannot_listen(&error))?;
    let played = single_threaded().and_then(|runtime| runtime.block_on(play(args, listener)));
    match played {
        // Whoever read it has seen enough: `lb demo | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        played => played.map_err(|error| Failure::chain(Status::System, &error)),
    }
}

/// On the port that was asked for; else on the usual one, or on any if that is taken.
fn listen(port: Option<u16>) -> Result<TcpListener, BindError> {
    let on = |port| bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), 1).map(|mut one| one.swap_remove(0));
    match port {
        Some(port) => on(port),
        None => on(PORT).or_else(|_| on(0)),
    }
}

async fn play(args: &args::Demo, listener: TcpListener) -> io::Result<()> {
    let signals = Signals::new()?;
    let front = listener.local_addr()?;
    let stage = Stage::new(&NAMES)?;
    let balancer = balancer(&stage);
    tokio::spawn(lb_net::drive(Arc::clone(&balancer)));
    let settings = tcp::Settings::default().with_connect_timeout(CONNECT_TIMEOUT);
    let proxy = TcpProxy::new(Arc::clone(&balancer)).with_settings(settings);
    tokio::spawn(async move { proxy.serve(listener, std::future::pending()).await });
    let mut demo = Demo::new(front, stage, balancer)?;
    demo.screen.say(&demo.welcome(args.port.is_none() && front.port() != PORT))?;
    demo.until_told(signals, args.seconds).await?;
    demo.finish().await
}

/// The backends by their names, in turn, as `lb 8080 alpha beta gamma` would have them.
fn balancer(stage: &Stage) -> Arc<Balancer<SocketAddr>> {
    let mut config = Config::default().with_group(GroupConfig::new(NAMES.map(BackendConfig::new)));
    config.start = Start::First;
    let mut addresses = stage.backends.iter().map(|backend| backend.address);
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut rng = SmallRng::seed_from_u64(different_each_time());
    Arc::new(Balancer::new(config, std::time::Instant::now(), &mut rng, |_| addresses.next().unwrap_or(nowhere)))
}

struct Demo {
    front: SocketAddr,
    stage: Stage,
    balancer: Arc<Balancer<SocketAddr>>,
    /// Requests of the demo's own client that have no answer yet.
    asking: JoinSet<Visit>,
    visits: Visits,
    rates: Rates,
    screen: Screen,
    began: Instant,
    /// When the timer acts next; `None` once a key was pressed.
    next_scene: Option<Instant>,
}

impl Demo {
    fn new(front: SocketAddr, stage: Stage, balancer: Arc<Balancer<SocketAddr>>) -> io::Result<Self> {
        let (screen, began) = (Screen::open()?, Instant::now());
        let (asking, visits, rates) = (JoinSet::new(), Visits::default(), Rates::default());
        let next_scene = Some(began + stage::BEFORE);
        Ok(Self { front, stage, balancer, asking, visits, rates, screen, began, next_scene })
    }

    fn welcome(&self, port_was_taken: bool) -> String {
        let front = self.front;
        let note = if port_was_taken { format!(" (port {PORT} is taken)") } else { String::new() };
        let stop = if self.screen.has_keys() { KEYS } else { "to stop it: ^C" };
        format!(
            "alpha, beta and gamma are three small backends; lb balances http://{front}/ over them{note}.\n\
             try: curl http://{front}/     or open it in a browser; the answer is the backend's name\n\
             {stop}\n\
             Some requests a second are made already. By itself one backend is killed, another falls silent, both\n\
             come back; watch who gets the connections, and that no request fails.\n"
        )
    }

    /// Serves, asks and shows, until a signal, the key q, or the end of the time.
    async fn until_told(&mut self, mut signals: Signals, seconds: Option<Duration>) -> io::Result<()> {
        let mut ask = every(visitor::PAUSE);
        let mut show = every(self.screen.refresh());
        let end = seconds.map(|seconds| self.began + seconds);
        loop {
            tokio::select! {
                () = backend::serve(&mut self.stage.backends) => {}
                Some(Ok(visit)) = self.asking.join_next() => self.visits.add(visit),
                key = self.screen.key() => match key {
                    b'q' | b'Q' => return Ok(()),
                    key => self.press(key)?,
                },
                () = at(self.next_scene) => self.play_scene()?,
                _ = ask.tick() => { self.asking.spawn(visit(self.front)); }
                _ = show.tick() => self.show()?,
                () = signals.next() => return Ok(()),
                () = at(end) => return Ok(()),
            }
        }
    }

    fn press(&mut self, key: u8) -> io::Result<()> {
        let event = match key {
            b's' | b'S' => Some(self.stage.silence_next()),
            b'1'..=b'9' => self.stage.toggle(usize::from(key - b'1')),
            _ => None,
        };
        let Some(event) = event else { return Ok(()) };
        if self.next_scene.take().is_some() {
            self.tell("from here on you decide: nothing happens by itself any more")?;
        }
        self.tell(&event)
    }

    fn play_scene(&mut self) -> io::Result<()> {
        self.next_scene = Some(Instant::now() + stage::BETWEEN);
        let event = self.stage.next_scene();
        self.tell(&event)
    }

    fn tell(&mut self, event: &str) -> io::Result<()> {
        self.screen.say(&format!("{}  {event}", view::clock(self.began.elapsed())))
    }

    fn show(&mut self) -> io::Result<()> {
        if self.screen.is_terminal() {
            let table = self.view().table();
            self.screen.draw(table)
        } else {
            let line = self.view().line();
            self.screen.say(&line)
        }
    }

    fn view(&mut self) -> View<'_> {
        View {
            running_for: self.began.elapsed(),
            rates: self.rates.next(&self.stage.backends),
            backends: &self.stage.backends,
            stats: self.balancer.stats(),
            visits: &self.visits,
            keys: if self.screen.has_keys() { KEYS } else { "to stop it: ^C" },
        }
    }

    /// Waits for the answers that are still to come, and says how it went.
    async fn finish(mut self) -> io::Result<()> {
        let answers = async {
            loop {
                tokio::select! {
                    () = backend::serve(&mut self.stage.backends) => {}
                    visit = self.asking.join_next() => match visit {
                        Some(visit) => visit.into_iter().for_each(|visit| self.visits.add(visit)),
                        None => return,
                    }
                }
            }
        };
        let _ = timeout(Duration::from_secs(1), answers).await;
        if self.screen.is_terminal() {
            self.show()?;
            self.screen.leave_table();
        }
        let summary = self.view().summary();
        self.screen.say(&summary)
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval
}

/// Then, or never.
async fn at(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then).await,
        None => std::future::pending().await,
    }
}

fn different_each_time() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}
