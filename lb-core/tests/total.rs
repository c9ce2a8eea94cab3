//! No configuration and no sequence of operations panics, breaks a limit, picks against an order or tells an untruth.

mod support;

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use lb_core::{
    BackendConfig, BackendId, BackendStats, Balancer, Cause, Config, GroupConfig, Health, Lease, NoPick, Outcome,
    Reason, Request, SelectorKind, Start, Status, Tried,
    health::{Eject, Evidence, Probe, RequestFailures, RiseFall, Said, Share, Traffic},
    selector::{Hash, Metric, Random, RoundRobin, Selector},
    sim::{Stub, World},
};
use proptest::{collection::vec, prelude::*, sample::select};
use support::{Scene, config};

const STRICT: SelectorKind = SelectorKind::Hash { spill: false };
const STATUSES: [Status; 3] = [Status::Enabled, Status::Draining, Status::Disabled];
const OUTCOMES: [Outcome; 6] = [
    Outcome::Success,
    Outcome::ConnectFailed,
    Outcome::ServerError,
    Outcome::Broken,
    Outcome::TimedOut,
    Outcome::Cancelled,
];
const LIMITS: [Option<u32>; 6] = [None, Some(0), Some(1), Some(2), Some(7), Some(u32::MAX)];
const WEIGHTS: [u16; 7] = [0, 1, 1, 2, 5, 1000, u16::MAX];
const TIMES: [Duration; 5] =
    [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(10), Duration::from_secs(7), Duration::MAX];

/// Names are few, so that they repeat.
fn backend() -> impl Strategy<Value = BackendConfig> {
    let status = select([Status::Enabled; 7].into_iter().chain(STATUSES).collect::<Vec<_>>());
    (0..9_u8, select(&LIMITS), select(&WEIGHTS), status).prop_map(|(name, limit, weight, status)| {
        let mut backend = BackendConfig::new(format!("b{name}")).with_weight(weight).with_status(status);
        backend.limit = limit;
        backend
    })
}

fn group() -> impl Strategy<Value = GroupConfig> {
    (select(&SelectorKind::ALL), vec(backend(), 0..20)).prop_map(|(kind, mut backends)| {
        // The table of a larger hash group takes a debug build long; another test makes one.
        backends.truncate(if matches!(kind, SelectorKind::Hash { .. }) { 16 } else { 20 });
        GroupConfig::new(backends).with_selector(kind)
    })
}

fn any_config() -> impl Strategy<Value = Config> {
    let one = NonZeroU32::MIN;
    let probes = select(vec![None, Some(RiseFall::default()), Some(RiseFall::new(one, one).assuming_up())]);
    let rule = RequestFailures::new(one, Duration::MAX);
    let quick = Eject::default().with_connect_failures(one).with_request_failures(rule).with_most_percent(100);
    let endless = quick.clone().with_periods(Duration::MAX, Duration::MAX);
    let ejection = select(vec![None, None, Some(Eject::default()), Some(quick), Some(endless)]);
    let start = select(&[Start::First, Start::Random]);
    (vec(group(), 0..4), probes, ejection, any::<bool>(), select(&TIMES), start).prop_map(
        |(groups, probes, ejection, autodisable, slow_start, start)| {
            let mut config = Config::default().with_slow_start(slow_start).with_start(start);
            (config.groups, config.probes, config.ejection) = (groups, probes, ejection);
            config.autodisable = autodisable;
            config
        },
    )
}

#[derive(Clone, Debug)]
enum Step {
    Pick { key: Option<u8>, pin: Option<u8>, tried: Vec<u8>, client: Option<u8> },
    Explain { key: u8, tried: Vec<u8> },
    End(u8, Option<Outcome>),
    Order(u8, Status),
    Weight(u8, u16),
    Limit(u8, Option<u32>),
    Observe(u8, Evidence),
    Enable(u8),
    Settle,
    Pass(Duration),
    Update(Config),
}

fn up(percent: u8) -> Said {
    Said::Up(Share::percent(percent).expect("1 to 100"))
}

fn step() -> impl Strategy<Value = Step> {
    let some = || proptest::option::of(any::<u8>());
    let tried = || vec(any::<u8>(), 0..12);
    let outcome = || proptest::option::of(select(&OUTCOMES));
    let evidence = select(vec![
        Evidence::Probe(Probe::Passed),
        Evidence::Probe(Probe::Failed),
        Evidence::Probe(Probe::Said(Said::Down)),
        Evidence::Probe(Probe::Said(Said::Drain)),
        Evidence::Probe(Probe::Said(Said::Maintenance)),
        Evidence::Probe(Probe::Said(up(100))),
        Evidence::Probe(Probe::Said(up(40))),
        Evidence::Probe(Probe::Said(up(1))),
        Evidence::Traffic(Traffic::new(Outcome::ConnectFailed)),
        Evidence::Ejected,
        Evidence::Readmitted,
        Evidence::Enabled,
    ]);
    let short = select(vec![Duration::from_millis(1), Duration::from_secs(3), Duration::from_secs(400)]);
    let pin = proptest::option::weighted(0.2, any::<u8>());
    prop_oneof![
        8 => (some(), pin, tried(), some())
            .prop_map(|(key, pin, tried, client)| Step::Pick { key, pin, tried, client }),
        3 => (any::<u8>(), tried()).prop_map(|(key, tried)| Step::Explain { key, tried }),
        6 => (any::<u8>(), outcome()).prop_map(|(which, outcome)| Step::End(which, outcome)),
        2 => (any::<u8>(), select(&STATUSES)).prop_map(|(which, status)| Step::Order(which, status)),
        1 => (any::<u8>(), select(&WEIGHTS)).prop_map(|(which, weight)| Step::Weight(which, weight)),
        2 => (any::<u8>(), select(&LIMITS)).prop_map(|(which, limit)| Step::Limit(which, limit)),
        3 => (any::<u8>(), evidence).prop_map(|(which, evidence)| Step::Observe(which, evidence)),
        1 => any::<u8>().prop_map(Step::Enable),
        2 => Just(Step::Settle),
        2 => short.prop_map(Step::Pass),
        1 => any_config().prop_map(Step::Update),
    ]
}

/// A lease, and which of the backends of that id it was: one that was removed and added again is another.
struct Held {
    lease: Lease<u64>,
    made: u64,
}

struct Play {
    world: World,
    balancer: Balancer<u64>,
    config: Config,
    held: Vec<Held>,
    /// Payloads are numbers, made in sequence.
    made: u64,
}

impl Play {
    fn new(config: Config) -> Self {
        let (mut world, mut made) = (World::new(3), 0);
        let make = |_: &BackendConfig| {
            made += 1;
            made
        };
        let balancer = Balancer::new(config.clone(), world.now(), world.rng(), make);
        Self { world, balancer, config, held: Vec::new(), made }
    }

    fn stats(&self) -> Vec<BackendStats> {
        self.balancer.stats().backends
    }

    /// One of the configured backends, or at times one that never was.
    fn id(&self, which: u8) -> BackendId {
        let ids: Vec<BackendId> = self.config.backends().map(|(id, ..)| id).collect();
        let unknown = BackendId::new("nobody", 0);
        if ids.is_empty() { unknown } else { ids.get(which as usize % (ids.len() + 1)).copied().unwrap_or(unknown) }
    }

    fn tried(&self, which: &[u8]) -> Tried {
        let mut tried = Tried::default();
        which.iter().for_each(|which| tried.insert(self.id(*which)));
        tried
    }

    fn take(&mut self, step: Step) {
        let now = self.world.now();
        match step {
            Step::Pick { key, pin, tried, client } => {
                let tried = self.tried(&tried);
                let mut request = Request::new(now).with_tried(&tried);
                request.key = key.map(u64::from);
                request.pin = pin.map(|which| self.id(which));
                request.client = client.map(u64::from);
                self.pick(&request);
            }
            Step::Explain { key, tried } => self.explain(u64::from(key), &tried),
            Step::End(which, outcome) => self.end(which, outcome),
            Step::Order(which, status) => _ = self.balancer.set_status(self.id(which), status, now),
            Step::Weight(which, weight) => _ = self.balancer.set_weight(self.id(which), weight, now),
            Step::Limit(which, limit) => _ = self.balancer.set_limit(self.id(which), limit, now),
            Step::Observe(which, evidence) => _ = self.balancer.observe(self.id(which), &evidence, now),
            Step::Enable(which) => _ = self.balancer.enable(self.id(which), now),
            Step::Settle => _ = self.balancer.settle(now),
            Step::Pass(time) => self.world.advance(time),
            Step::Update(config) => {
                let made = &mut self.made;
                let diff = self.balancer.update(config.clone(), now, |_| {
                    *made += 1;
                    1000 + *made
                });
                assert!(diff.added.len() + diff.removed.len() + diff.changed.len() <= 200);
                self.config = config;
            }
        }
    }

    fn end(&mut self, which: u8, outcome: Option<Outcome>) {
        if self.held.is_empty() {
            return;
        }
        let held = self.held.swap_remove(which as usize % self.held.len());
        match outcome {
            Some(outcome) => held.lease.finish(outcome, self.world.now()),
            None => drop(held),
        }
    }

    fn pick(&mut self, request: &Request<'_>) {
        let before = self.stats();
        let model = Model { backends: &before, config: &self.config, request };
        match self.balancer.pick(request, self.world.rng()) {
            Ok(lease) => {
                let chosen =
                    before.iter().find(|backend| backend.id == lease.id()).expect("it is as the scenario says");
                model.check_pick(chosen);
                let made = *lease.payload();
                self.held.push(Held { lease, made });
                let inside = self.held.iter().filter(|held| held.made == made).count();
                assert!(chosen.limit.is_none_or(|limit| inside <= limit as usize), "{inside} in {chosen:?}");
            }
            Err(no_pick) => model.check_no_pick(no_pick),
        }
    }

    /// What is explained must come true, where chance has no say.
    fn explain(&mut self, key: u64, tried: &[u8]) {
        self.world.advance(Duration::from_millis(10));
        self.balancer.settle(self.world.now());
        let tried = self.tried(tried);
        let request = Request::new(self.world.now()).with_key(key).with_tried(&tried);
        let before = self.stats();
        let explanation = self.balancer.explain(&request);
        assert_eq!(self.stats(), before, "it takes no place");
        // Whether an ejected backend is half-open is not to be seen from here.
        if before.iter().any(|backend| backend.health == Health::Ejected) {
            return;
        }
        let picked = self.balancer.pick(&request, self.world.rng());
        assert_eq!(explanation.no_pick, picked.as_ref().err().copied(), "{explanation}");
        let chosen = explanation.backends.iter().find(|backend| backend.reason == Reason::Chosen);
        let left_to_chance = |group: &GroupConfig| match group.selector {
            SelectorKind::Random => true,
            SelectorKind::LeastLoaded(_) => group.backends.len() > 8,
            _ => false,
        };
        if !self.config.groups.iter().any(left_to_chance) {
            assert_eq!(chosen.map(|chosen| chosen.id), picked.ok().map(|lease| lease.id()), "{explanation}");
        }
    }

    fn check_counts(&self) {
        let mut ours: BTreeMap<u64, u32> = BTreeMap::new();
        self.held.iter().for_each(|held| *ours.entry(held.made).or_default() += 1);
        let mut made = Vec::new();
        self.balancer.for_each(|_, number| made.push(*number));
        for (backend, made) in self.stats().iter().zip(made) {
            assert_eq!(backend.in_flight, ours.get(&made).copied().unwrap_or(0), "{backend:?}");
        }
    }
}

/// What should come of a request, computed the slow way from the numbers that anybody can see.
struct Model<'a> {
    backends: &'a [BackendStats],
    config: &'a Config,
    request: &'a Request<'a>,
}

impl Model<'_> {
    fn takes_work(backend: &BackendStats) -> bool {
        backend.status == Status::Enabled && backend.weight > 0 && backend.health != Health::Draining
    }

    /// A slow start or a share may have lowered limits.
    fn may_be_lowered(&self) -> bool {
        let shared = self.backends.iter().any(|backend| backend.share != Share::FULL);
        shared || !self.config.slow_start.is_zero()
    }

    /// Ejected ones may be half-open, which is not to be seen from here: with them much is left open.
    fn any_ejected(&self) -> bool {
        self.backends.iter().any(|backend| backend.health == Health::Ejected)
    }

    fn nobody_up(&self) -> bool {
        !self.backends.iter().any(|backend| Self::takes_work(backend) && backend.health == Health::Up)
    }

    fn healthy(&self, backend: &BackendStats) -> bool {
        match backend.health {
            Health::Up | Health::Draining | Health::Ejected => true,
            Health::Down(Cause::Silent) => self.nobody_up(),
            _ => false,
        }
    }

    fn candidates(&self) -> Vec<&BackendStats> {
        self.backends.iter().filter(|backend| Self::takes_work(backend) && self.healthy(backend)).collect()
    }

    fn is_open(&self, backend: &BackendStats) -> bool {
        let has_room = backend.limit.is_none_or(|limit| backend.in_flight < limit);
        has_room && !self.request.tried.contains(backend.id)
    }

    /// Whether its group may leave it aside because it does not own the key.
    fn may_decline(&self, backend: &BackendStats) -> bool {
        let lowered = self.may_be_lowered() && backend.limit.is_some();
        let kind = self.config.groups[backend.group].selector;
        let by_limit = matches!(kind, SelectorKind::Hash { .. } | SelectorKind::BucketFill);
        kind == STRICT && self.request.key.is_some() || lowered && by_limit
    }

    fn check_pick(&self, chosen: &BackendStats) {
        assert!(self.is_open(chosen) && self.healthy(chosen), "{chosen:?}");
        if let Some(pin) = self.request.pin {
            assert!(chosen.id == pin && chosen.status != Status::Disabled, "{chosen:?}");
            return;
        }
        assert!(Self::takes_work(chosen), "{chosen:?}");
        if !self.any_ejected() {
            let earlier = self.candidates().into_iter().filter(|backend| backend.group < chosen.group);
            let passed: Vec<_> = earlier.filter(|b| self.is_open(b) && !self.may_decline(b)).collect();
            assert!(passed.is_empty(), "{chosen:?} before {passed:?}");
        }
    }

    fn check_no_pick(&self, no_pick: NoPick) {
        if no_pick == NoPick::Recovering {
            assert!(!self.config.slow_start.is_zero(), "{no_pick:?}");
            assert!(self.backends.iter().any(|backend| Self::takes_work(backend) && backend.health == Health::Up));
            return;
        }
        if self.request.pin.is_some() || self.backends.is_empty() {
            return self.check_no_pin(no_pick);
        }
        if self.any_ejected() {
            assert!(!matches!(no_pick, NoPick::Empty | NoPick::PinGone), "{no_pick:?}");
            return;
        }
        let candidates = self.candidates();
        let (tried, fresh): (Vec<&BackendStats>, Vec<_>) =
            candidates.iter().partition(|backend| self.request.tried.contains(backend.id));
        let open = fresh.iter().any(|backend| self.is_open(backend));
        let unwilling = fresh.iter().all(|backend| !self.is_open(backend) || self.may_decline(backend));
        assert!(unwilling, "{no_pick:?} though there is room: {fresh:?}");
        let truth = match no_pick {
            NoPick::AllDown => candidates.is_empty() && self.said() == [false, false],
            NoPick::Maintenance => candidates.is_empty() && self.said() == [true, false],
            NoPick::Declined => candidates.is_empty() && self.said()[1],
            NoPick::AllTried => fresh.is_empty() && !tried.is_empty(),
            NoPick::AllFull => !fresh.is_empty() && (!open || self.may_be_lowered()),
            NoPick::OwnerUnavailable => open && self.request.key.is_some(),
            _ => false,
        };
        assert!(truth, "{no_pick:?} of {:?}", self.backends);
    }

    /// Whether any says that it is in maintenance, and whether any says that it takes nothing for another reason.
    fn said(&self) -> [bool; 2] {
        let ordered = self.backends.iter().filter(|b| b.status == Status::Enabled && b.weight > 0);
        let any = |healths: &[Health]| ordered.clone().any(|b| healths.contains(&b.health));
        [any(&[Health::Down(Cause::Maintenance)]), any(&[Health::Down(Cause::Said), Health::Draining])]
    }

    fn check_no_pin(&self, no_pick: NoPick) {
        let Some(pin) = self.request.pin else { return assert_eq!(no_pick, NoPick::Empty) };
        let takes = |backend: &&BackendStats| backend.id == pin && backend.status != Status::Disabled;
        let found = self.backends.iter().find(takes).filter(|backend| self.healthy(backend));
        let found = found.filter(|backend| !self.request.tried.contains(backend.id));
        match found {
            Some(backend) if backend.health == Health::Ejected || self.may_be_lowered() => {}
            Some(backend) => assert!(no_pick == NoPick::AllFull && !self.is_open(backend), "{no_pick:?}, {backend:?}"),
            None if self.any_ejected() => {}
            None => assert_eq!(no_pick, NoPick::PinGone),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_panics_and_every_answer_is_true(config in any_config(), steps in vec(step(), 0..50)) {
        let mut play = Play::new(config);
        for step in steps {
            play.take(step);
            play.check_counts();
        }
        play.held.clear();
        play.check_counts();
    }
}

#[test]
fn a_balancer_of_nothing_answers_every_question() {
    let mut scene = Scene::new(Config::default());
    let nobody = BackendId::new("a", 0);
    let now = scene.now();
    assert_eq!(scene.pick(&Request::new(now)).unwrap_err(), NoPick::Empty);
    assert_eq!(scene.pick(&Request::new(now).with_pin(nobody)).unwrap_err(), NoPick::PinGone);
    assert!(scene.balancer.set_weight(nobody, 1, now).is_err() && scene.balancer.enable(nobody, now).is_err());
    assert_eq!(scene.balancer.settle(now), None);
    assert!(scene.balancer.stats().backends.is_empty());
    assert_eq!(scene.balancer.explain(&Request::new(now)).no_pick, Some(NoPick::Empty));
}

#[test]
fn ten_thousand_backends_come_and_go() {
    for kind in [SelectorKind::RoundRobin, SelectorKind::LeastLoaded(Metric::InFlight), SelectorKind::BucketFill] {
        let mut scene = Scene::new(support::numbered(10_000, kind));
        assert!(scene.order(1).starts_with('b'), "{kind:?}");
        scene.update(config("a"));
        assert_eq!(scene.order(2), "a a");
    }
}

#[test]
fn times_without_end_are_no_panic() {
    let eject = Eject::default().with_periods(Duration::MAX, Duration::MAX);
    let probes = RiseFall::default().with_intervals(Duration::MAX, Duration::MAX);
    let mut world = World::new(1);
    assert!(probes.jittered(Duration::MAX, world.rng()) > Duration::from_secs(1));
    let all = config("a b").with_ejection(eject).with_slow_start(Duration::MAX).with_probes(probes);
    let mut scene = Scene::new(all);
    scene.probe("a", Probe::Passed);
    scene.probe("b", Probe::Passed);
    scene.settle();
    scene.refuse("a", 3);
    scene.settle();
    assert_eq!(scene.balancer.settle(scene.now()), None, "nothing will ever be due");
    assert_eq!((scene.health("a"), scene.order(1).as_str()), (Health::Ejected, "b"));
    scene.enable("a");
    assert_eq!(scene.health("a"), Health::Up);
}

#[test]
fn a_time_before_the_beginning_is_no_panic() {
    let mut scene = Scene::new(config("a b").with_ejection(Eject::default()).with_slow_start(Duration::from_secs(1)));
    let before = scene.now() - Duration::from_millis(1);
    let lease = scene.pick(&Request::new(before)).unwrap();
    lease.finish(Outcome::ServerError, before);
    scene.balancer.settle(before);
    scene.balancer.enable(support::id("a"), before).unwrap();
    assert_eq!(scene.stats("a").failed, 1);
}

#[test]
fn selectors_stand_weights_without_bound_and_groups_that_shrank() {
    let mut world = World::new(1);
    let request = Request::new(world.now()).with_key(5);
    let selectors: [Box<dyn Selector>; 4] = [
        Box::new(Hash::new().spilling()),
        Box::new(RoundRobin::starting_at(u64::MAX)),
        Box::new(Random::default()),
        Box::new(lb_core::selector::LeastLoaded::new(Metric::PeakEwma)),
    ];
    let large: Vec<Stub> = (0..40).map(|n| Stub::new(n).with_weight(u32::MAX - n as u32)).collect();
    for selector in selectors {
        for len in [3, 40] {
            let rebuilt = selector.rebuild(&&large[..len], &request);
            for rest in [0, 1, 2, len] {
                for _ in 0..50 {
                    let slot = rebuilt.pick(&&large[..rest], &request, world.rng());
                    assert!(slot.is_none_or(|slot| slot < rest), "slot {slot:?} of {rest}");
                }
            }
        }
    }
}
