//! When each backend is looked at.

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use lb_core::{
    BackendConfig, Balancer, Config, GroupConfig, Health, Status,
    health::{Evidence, HealthPolicy, RiseFall, Verdict},
    rand::{SeedableRng, rngs::SmallRng},
};
use lb_net::{
    connect::Addresses,
    probe::{Answer, Check, Monitor, Probe, Target},
};
use tokio::sync::mpsc;

use crate::{
    checks::*,
    saying,
    support::{self, Front, Manner, Refusing, Silent, Stub, balancer, eventually, soon},
};

#[tokio::test]
async fn twenty_silent_backends_take_one_timeout() {
    let silent: Vec<Silent> = (0..20).map(|_| Silent::new()).collect();
    let addresses: Vec<SocketAddr> = silent.iter().map(|silent| silent.address).collect();
    let text = "connect:timeout=0.5";
    let balancer = over(&addresses, &spec(text));
    let begin = Instant::now();
    let running = Running::new(text, &balancer);
    eventually(|| balancer.stats().backends.iter().all(|backend| backend.health == DOWN)).await;
    let passed = begin.elapsed();
    assert!(passed >= Duration::from_millis(500) && passed < Duration::from_secs(5), "{passed:?}");
    running.stop().await;
}

#[tokio::test]
async fn twenty_hung_commands_take_one_timeout_and_other_backends_wait_for_none() {
    let stubs: Vec<Stub> = (0..21).map(|_| Stub::new(Manner::Echo)).collect();
    let addresses: Vec<SocketAddr> = stubs.iter().map(|stub| stub.address).collect();
    let well = addresses[20];
    let text = format!("command=test %P = {} || sleep 1000:timeout=1", well.port());
    let balancer = over(&addresses, &spec(&text));
    let begin = Instant::now();
    let mut running = Running::new(&text, &balancer);
    assert_eq!(running.next().await.backend, well.to_string(), "it has not waited for those that hang");
    for _ in 0..20 {
        assert_eq!(running.next().await.reason, "probe: command: no answer within 1s");
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_first_round_is_at_once_and_the_next_an_interval_later() {
    let pace = spec("connect:interval=0.5").policy();
    let balancer = balancer(config(&[support::loopback()]).with_probes(pace.clone()));
    let check = Check::new("mine", Arc::new(Slow(Duration::from_millis(400))), Duration::from_secs(1));
    let begin = tokio::time::Instant::now();
    let mut running = Running::of(Monitor::with_checks([check], pace), &balancer);
    // Each round begins one interval after the start, not after the end, of the one before.
    for answer in [400, 900, 1_400, 1_900] {
        running.next().await;
        let passed = begin.elapsed().as_millis();
        assert!((answer..answer + 20).contains(&passed), "{passed} ms and not {answer}");
    }
    running.stop().await;
}

/// Rounds of a backend begin at these milliseconds: each takes 100, and finds nobody there.
async fn rounds_begin_at(expected: &[u128], mut pace: RiseFall, policy: Option<Box<dyn HealthPolicy>>) {
    pace.jitter = 0.0;
    let (asked, mut begun) = mpsc::unbounded_channel();
    let check = Check::new("mine", Arc::new(Gone(asked)), Duration::from_secs(1));
    let config = config(&[support::loopback()]).with_probes(pace.clone());
    let balancer = Balancer::new(config, Instant::now(), &mut SmallRng::seed_from_u64(1), |_| support::loopback());
    let balancer = Arc::new(policy.into_iter().fold(balancer, Balancer::with_health_policy));
    let begin = tokio::time::Instant::now();
    let running = Running::of(Monitor::with_checks([check], pace), &balancer);
    for (round, at) in expected.iter().enumerate() {
        let passed = (begun.recv().await.unwrap() - begin).as_millis();
        // What is close together is done together.
        assert!((*at..at + 10 * expected.len() as u128).contains(&passed), "round {round}: {passed} ms and not {at}");
    }
    running.stop().await;
}

/// Tells when it is asked, and has no good answer.
#[derive(Debug)]
struct Gone(mpsc::UnboundedSender<tokio::time::Instant>);

#[async_trait::async_trait]
impl Probe for Gone {
    async fn probe(&self, _: &Target) -> Answer {
        self.0.send(tokio::time::Instant::now()).unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(100)).await;
        Answer::Failed("gone".into())
    }
}

#[tokio::test(start_paused = true)]
async fn rounds_come_faster_while_a_change_is_under_way() {
    let three = NonZeroU32::new(3).unwrap();
    let pace = RiseFall::new(three, three).assuming_up();
    // The third takes it down.
    rounds_begin_at(&[0, 500, 1_000, 3_000, 5_000], pace, None).await;
    // Nothing is under way where one round decides.
    let pace = RiseFall::new(three, NonZeroU32::MIN).assuming_up();
    rounds_begin_at(&[0, 2_000, 4_000], pace, None).await;
}

/// Wants to know sooner and sooner.
#[derive(Debug)]
struct Impatient(Duration);

impl HealthPolicy for Impatient {
    fn for_backend(&self) -> Box<dyn HealthPolicy> {
        Box::new(Self(self.0))
    }

    fn observe(&mut self, _: &Evidence, _: Instant) -> Verdict {
        let mut verdict = Verdict::default();
        verdict.next_probe = Some(self.0);
        self.0 /= 2;
        verdict
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_of_ones_own_says_when_to_look_again() {
    let policy = Box::new(Impatient(Duration::from_secs(8)));
    rounds_begin_at(&[0, 8_000, 12_000, 14_000, 15_000], RiseFall::default(), Some(policy)).await;
}

/// Takes its time.
#[derive(Debug)]
struct Slow(Duration);

#[async_trait::async_trait]
impl Probe for Slow {
    async fn probe(&self, _: &Target) -> Answer {
        tokio::time::sleep(self.0).await;
        Answer::Passed
    }
}

#[tokio::test]
async fn checks_slower_than_the_interval_delay_only_their_own_backend() {
    let (silent, stub) = (Silent::new(), Stub::new(Manner::Echo));
    let text = "connect:timeout=5:interval=0.05";
    let balancer = over(&[silent.address, stub.address], &spec(text));
    let mut running = Running::new(text, &balancer);
    for _ in 0..5 {
        assert_eq!(running.next().await.backend, stub.address.to_string());
    }
    running.stop().await;
}

#[tokio::test]
async fn the_next_probe_is_told_and_while_paused_there_is_none() {
    let (balancer, _says, running) = saying(Answer::Passed);
    let next = || balancer.stats().backends[0].next_probe;
    eventually(|| next().is_some()).await;
    let first = next();
    eventually(|| next() > first).await;
    assert!(next().unwrap() <= Instant::now() + Duration::from_secs(1));
    running.switch.set_enabled(false);
    eventually(|| next().is_none()).await;
    running.switch.set_enabled(true);
    eventually(|| next().is_some()).await;
    balancer.set_status(balancer.stats().backends[0].id, Status::Disabled, Instant::now()).unwrap();
    eventually(|| next().is_none()).await;
    running.stop().await;
}

#[tokio::test]
async fn backends_of_groups_made_later_are_checked_and_removed_ones_are_not() {
    let (a, refusing) = (Stub::new(Manner::Echo), Refusing::new());
    let text = "connect:interval=60";
    let balancer = over(&[a.address], &spec(text));
    let mut running = Running::new(text, &balancer);
    running.next().await;
    let group = GroupConfig::new([BackendConfig::new(refusing.address.to_string())]);
    let both = config(&[a.address]).with_group(group).with_probes(spec(text).policy());
    let make = |backend: &BackendConfig| backend.name.parse().unwrap();
    balancer.update(both.clone(), Instant::now(), make);
    let begin = Instant::now();
    let found = running.next().await;
    assert_eq!(found.backend, refusing.address.to_string());
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    eventually(|| health(&balancer, 1) == DOWN).await;
    // Gone and back again, it is new: its round is at once, not after its old interval.
    balancer.update(config(&[a.address]).with_probes(spec(text).policy()), Instant::now(), make);
    running.switch.set_enabled(false);
    running.switch.set_enabled(true);
    assert_eq!(running.next().await.backend, a.address.to_string(), "the round without it");
    balancer.update(both, Instant::now(), make);
    assert_eq!(running.next().await.backend, refusing.address.to_string());
    running.stop().await;
}

/// Panics for one backend, and trusts the others.
#[derive(Debug)]
struct Panicking(SocketAddr);

#[async_trait::async_trait]
impl Probe for Panicking {
    async fn probe(&self, target: &Target) -> Answer {
        assert!(target.address != self.0, "the probe's own fault");
        Answer::Passed
    }
}

#[tokio::test]
async fn a_probe_that_panics_stops_no_other_and_changes_nothing() {
    let (a, b) = (Stub::new(Manner::Echo), Stub::new(Manner::Echo));
    let pace = spec("connect:interval=0.05").policy();
    let balancer = balancer(config(&[a.address, b.address]).with_probes(pace.clone()));
    let check = Check::new("mine", Arc::new(Panicking(a.address)), Duration::from_secs(1));
    let mut running = Running::of(Monitor::with_checks([check], pace), &balancer);
    let (mut panics, mut passes) = (0, 0);
    while panics < 3 || passes < 3 {
        match running.next().await {
            found if found.answer == Answer::Passed => passes += 1,
            found => {
                assert_eq!(found.reason, "probe: mine: the probe panicked");
                panics += 1;
            }
        }
    }
    assert_eq!(health(&balancer, 0), Health::Up);
    running.stop().await;
}

#[tokio::test]
async fn jitter_spreads_rounds_and_the_seed_repeats_them() {
    // In the same simulated time, so that only chance can make a difference.
    let rounds = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async move {
            let pace = spec("connect:interval=10:jitter=0.5").policy();
            let balancer = balancer(config(&["127.0.0.1:1".parse().unwrap()]).with_probes(pace.clone()));
            let check = Check::new("mine", Arc::new(Panicking(support::loopback())), Duration::from_secs(1));
            let (heard, mut times) = mpsc::unbounded_channel();
            let monitor = Monitor::with_checks([check], pace).with_seed(seed);
            let monitor = monitor.with_trace(move |_| heard.send(tokio::time::Instant::now()).unwrap_or_default());
            tokio::spawn(monitor.run(balancer, Addresses::all_addresses));
            let (mut gaps, mut last) = (Vec::new(), soon(times.recv()).await.unwrap());
            for _ in 0..20 {
                let next = soon(times.recv()).await.unwrap();
                gaps.push((next - last).as_millis());
                last = next;
            }
            gaps
        })
    };
    let [gaps, same, other] = [1, 1, 2].map(|seed| std::thread::spawn(move || rounds(seed)).join().unwrap());
    assert_eq!(gaps, same);
    assert_ne!(gaps, other);
    assert!(gaps.iter().all(|gap| (5_000..=15_020).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().max().unwrap() - gaps.iter().min().unwrap() > 3_000, "{gaps:?}");
}

/// The outage that balance.fm's monitoring was written for: the main host is black-holed, and clients have half a second
/// of patience where a connect has an hour.
#[tokio::test]
async fn the_last_fm_outage_ends_with_the_first_check() {
    let (silent, spare) = (Silent::new(), Stub::new(Manner::Named(b'S')));
    let text = "connect:timeout=0.3:interval=60";
    let words = format!("{} ! {}", silent.address, spare.address);
    let balancer = balancer(words.parse::<Config>().unwrap().with_probes(spec(text).policy()));
    tokio::spawn(lb_net::drive(Arc::clone(&balancer)));
    // As balance does it: one backend after the other.
    let settings = lb_net::tcp::Settings::default().with_race(None).with_connect_timeout(Duration::from_secs(3600));
    let front = Front::of(Arc::clone(&balancer), lb_net::TcpProxy::new(Arc::clone(&balancer)).with_settings(settings));
    let patience = Duration::from_millis(500);
    let impatient = tokio::time::timeout(patience, support::ask(front.address)).await;
    assert!(impatient.is_err(), "without a check it waits in vain");
    let begin = Instant::now();
    let running = Running::new(text, &balancer);
    eventually(|| health(&balancer, 0) == DOWN).await;
    let passed = begin.elapsed();
    assert!(passed >= Duration::from_millis(300) && passed < Duration::from_secs(15), "{passed:?}");
    for _ in 0..5 {
        assert_eq!(support::ask(front.address).await.unwrap(), "S", "long before a connect has failed");
    }
    running.stop().await;
}
