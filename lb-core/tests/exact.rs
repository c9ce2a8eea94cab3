//! Limits, orders and membership hold exactly, however many threads pick.

mod support;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst},
    time::Instant,
};

use lb_core::{
    BackendConfig, BackendStats, Balancer, Config, GroupConfig, NoPick, Outcome, Request, SelectorKind, Start, Status,
    health::{Probe, RiseFall},
    selector::Metric,
    sim::World,
};
use support::{config, id, numbered};

const THREADS: u64 = 4;
const KINDS: [SelectorKind; 5] = [
    SelectorKind::RoundRobin,
    SelectorKind::LeastLoaded(Metric::InFlight),
    SelectorKind::Random,
    SelectorKind::Hash { spill: true },
    SelectorKind::BucketFill,
];

/// Runs `pick` over and over in many threads, with chance of their own, while `change` works in this one.
fn meanwhile(pick: impl Fn(&mut World) + Sync, change: impl FnOnce()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..THREADS {
            let (over, pick) = (&over, &pick);
            scope.spawn(move || {
                let mut world = World::new(seed);
                while !over.load(SeqCst) {
                    pick(&mut world);
                }
            });
        }
        // Even a failed assertion must let the threads end.
        let changed = catch_unwind(AssertUnwindSafe(change));
        over.store(true, SeqCst);
        changed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

fn in_flight<T: Send + Sync>(balancer: &Balancer<T>) -> u32 {
    balancer.stats().backends.iter().map(|backend| backend.in_flight).sum()
}

/// Orders something against `b` and takes it back, again and again: between the two nobody may be picked there.
fn nobody_after(kind: SelectorKind, shut: impl Fn(&Balancer<()>, Instant), open: impl Fn(&Balancer<()>, Instant)) {
    let mut world = World::new(1);
    let now = world.now();
    let mut config = config("a b c");
    config.groups[0].selector = kind;
    let balancer = world.balancer(config);
    // Even while `b` may be picked, odd while it must not be.
    let (round, wrong) = (AtomicU32::new(0), AtomicUsize::new(0));
    let pick = |world: &mut World| {
        let before = round.load(SeqCst);
        let Ok(lease) = balancer.pick(&Request::new(now), world.rng()) else { return };
        let picked_wrongly = before % 2 == 1 && lease.name() == "b" && round.load(SeqCst) == before;
        wrong.fetch_add(usize::from(picked_wrongly), SeqCst);
    };
    meanwhile(pick, || {
        for _ in 0..1000 {
            shut(&balancer, now);
            round.fetch_add(1, SeqCst);
            let mut world = World::new(9);
            for _ in 0..5 {
                assert_ne!(
                    balancer.pick(&Request::new(now), world.rng()).expect("it is as the scenario says").name(),
                    "b"
                );
            }
            round.fetch_add(1, SeqCst);
            open(&balancer, now);
        }
    });
    assert_eq!(wrong.load(SeqCst), 0, "{kind:?}");
}

#[test]
fn nobody_is_picked_against_an_order_once_it_has_returned() {
    for (kind, status) in KINDS.into_iter().zip([Status::Disabled, Status::Draining].into_iter().cycle()) {
        let order = move |status| move |b: &Balancer<()>, now| b.set_status(id("b"), status, now).unwrap();
        nobody_after(kind, order(status), order(Status::Enabled));
    }
}

#[test]
fn nobody_is_picked_who_was_removed_once_the_update_has_returned() {
    for kind in KINDS {
        let to = move |text: &'static str| {
            move |balancer: &Balancer<()>, now| {
                let mut config = config(text);
                config.groups[0].selector = kind;
                balancer.update(config, now, |_| ());
            }
        };
        nobody_after(kind, to("a c"), to("c b a"));
    }
}

#[test]
fn nobody_is_picked_whose_limit_or_weight_is_nothing() {
    let limit = |limit| move |b: &Balancer<()>, now| b.set_limit(id("b"), limit, now).unwrap();
    nobody_after(SelectorKind::RoundRobin, limit(Some(0)), limit(None));
    let weight = |weight| move |b: &Balancer<()>, now| b.set_weight(id("b"), weight, now).unwrap();
    nobody_after(SelectorKind::LeastLoaded(Metric::InFlight), weight(0), weight(3));
}

#[test]
fn nobody_is_picked_who_is_down_once_that_was_observed() {
    let one = std::num::NonZeroU32::MIN;
    let mut world = World::new(1);
    let now = world.now();
    let balancer = world.balancer(config("a b").with_probes(RiseFall::new(one, one).assuming_up()));
    let observe = |probe| balancer.observe(id("b"), &lb_core::health::Evidence::Probe(probe), now).unwrap();
    for _ in 0..1000 {
        observe(Probe::Failed);
        for _ in 0..3 {
            assert_eq!(balancer.pick(&Request::new(now), world.rng()).unwrap().name(), "a");
        }
        observe(Probe::Passed);
        let names = [0; 2].map(|_| balancer.pick(&Request::new(now), world.rng()).unwrap().name().to_owned());
        assert!(names.contains(&"b".to_owned()), "{names:?}");
    }
}

/// One more than there may be is a breach, counted apart from the balancer.
struct Room {
    inside: AtomicU32,
    most: u32,
}

#[test]
fn a_limit_is_never_exceeded_and_every_place_comes_back() {
    for kind in KINDS {
        let mut world = World::new(1);
        let now = world.now();
        let backends = [1, 2, 3].map(|limit| BackendConfig::new(format!("b{limit}")).with_limit(limit));
        let group = GroupConfig::new(backends).with_selector(kind);
        let room = |backend: &BackendConfig| Room { inside: AtomicU32::new(0), most: backend.limit.unwrap() };
        let balancer = Balancer::new(Config::default().with_group(group), now, world.rng(), room);
        std::thread::scope(|scope| {
            for seed in 0..THREADS {
                let balancer = &balancer;
                scope.spawn(move || visit_often(balancer, now, seed));
            }
        });
        assert_eq!(in_flight(&balancer), 0, "{kind:?}");
        let held: Vec<_> = (0..6).map(|_| balancer.pick(&Request::new(now), world.rng()).unwrap()).collect();
        assert_eq!(balancer.pick(&Request::new(now), world.rng()).unwrap_err(), NoPick::AllFull);
        drop(held);
        assert_eq!(in_flight(&balancer), 0, "{kind:?}");
    }
}

/// Takes places and gives them back in every way there is: finished, dropped, lost in a panic.
fn visit_often(balancer: &Balancer<Room>, now: Instant, seed: u64) {
    let mut world = World::new(seed);
    for turn in 0..5000_u32 {
        let Ok(lease) = balancer.pick(&Request::new(now), world.rng()) else { continue };
        let room = lease.payload();
        let others = room.inside.fetch_add(1, SeqCst);
        assert!(others < room.most, "{} are in where {} may be", others + 1, room.most);
        room.inside.fetch_sub(1, SeqCst);
        match turn % 4 {
            0 => lease.finish(Outcome::Success, now),
            1 => lease.finish(Outcome::ServerError, now),
            2 => drop(lease),
            _ => {
                let lost = catch_unwind(AssertUnwindSafe(|| {
                    let _lease = lease;
                    std::panic::resume_unwind(Box::new("the one who held the lease failed"));
                }));
                assert!(lost.is_err());
            }
        }
    }
}

#[test]
fn a_thread_that_dies_gives_its_place_back() {
    let mut world = World::new(1);
    let now = world.now();
    let balancer = world.balancer(config("a::1"));
    std::thread::scope(|scope| {
        let dies = scope.spawn(|| {
            let _lease = balancer.pick(&Request::new(now), World::new(2).rng()).unwrap();
            std::panic::resume_unwind(Box::new("no more"));
        });
        assert!(dies.join().is_err());
    });
    assert_eq!(in_flight(&balancer), 0);
    assert_eq!(balancer.pick(&Request::new(now), world.rng()).unwrap().name(), "a");
}

#[test]
fn a_limit_that_is_lowered_meanwhile_holds_for_whoever_comes_after() {
    let mut world = World::new(1);
    let now = world.now();
    let balancer = world.balancer(config("a::8"));
    meanwhile(
        |world| drop((0..3).map_while(|_| balancer.pick(&Request::new(now), world.rng()).ok()).collect::<Vec<_>>()),
        || {
            for limit in (0..9).cycle().take(900) {
                balancer.set_limit(id("a"), Some(limit), now).unwrap();
                let mut before = in_flight(&balancer);
                for _ in 0..4 {
                    // Those above the limit run to their end: they only grow fewer until all are within it.
                    let inside = in_flight(&balancer);
                    assert!(inside <= before.max(limit), "{inside} inside, {before} before, limit {limit}");
                    before = inside;
                }
            }
        },
    );
    assert_eq!(in_flight(&balancer), 0);
}

#[test]
fn a_backend_that_has_room_again_is_found_every_time() {
    for kind in KINDS.into_iter().filter(|kind| !matches!(kind, SelectorKind::Hash { .. })) {
        let mut world = World::new(1);
        let now = world.now();
        let mut config = numbered(70, kind).with_start(Start::Random);
        config.groups[0].backends.iter_mut().for_each(|backend| backend.limit = Some(1));
        let balancer = world.balancer(config);
        std::thread::scope(|scope| {
            for seed in 0..THREADS {
                let balancer = &balancer;
                scope.spawn(move || {
                    let mut world = World::new(seed);
                    for most in [70, 40, 20, 1].into_iter().cycle().take(400) {
                        let pick = |_| balancer.pick(&Request::new(now), world.rng()).ok();
                        drop((0..most).map_while(pick).collect::<Vec<_>>());
                    }
                });
            }
        });
        for _ in 0..3 {
            let held: Vec<_> = (0..70).map(|_| balancer.pick(&Request::new(now), world.rng()).unwrap()).collect();
            assert_eq!(balancer.pick(&Request::new(now), world.rng()).unwrap_err(), NoPick::AllFull);
            drop(held);
        }
    }
}

#[test]
fn the_bitmap_is_never_stuck_while_snapshots_are_published() {
    let mut world = World::new(1);
    let now = world.now();
    let text = |extra: &str| format!("{}{extra}", (0..70).map(|k| format!("b{k}::1 ")).collect::<String>());
    let bucket = |extra: &str| {
        let mut config = config(&text(extra));
        config.groups[0].selector = SelectorKind::BucketFill;
        config
    };
    let balancer = world.balancer(bucket(""));
    meanwhile(
        |world| {
            let pick = |_| balancer.pick(&Request::new(now), world.rng()).ok();
            drop((0..70).map_while(pick).collect::<Vec<_>>());
        },
        || {
            for round in 0..1000 {
                balancer.update(bucket(if round % 2 == 0 { "z::1" } else { "" }), now, |_| ());
                balancer.set_limit(id("b3"), Some(round % 2), now).unwrap();
            }
        },
    );
    balancer.set_limit(id("b3"), Some(1), now).unwrap();
    let held: Vec<_> = (0..70).map(|_| balancer.pick(&Request::new(now), world.rng()).unwrap()).collect();
    let picked_at = |at: usize| held[at].name() == format!("b{at}");
    assert!((0..70).all(picked_at), "a bucket was passed over that had room");
}

#[test]
fn every_pick_is_counted_once() {
    let mut world = World::new(1);
    let now = world.now();
    let balancer = world.balancer(config("a b c"));
    std::thread::scope(|scope| {
        for seed in 0..THREADS {
            let balancer = &balancer;
            scope.spawn(move || {
                let mut world = World::new(seed);
                let outcomes = [Outcome::Success, Outcome::ServerError, Outcome::ConnectFailed, Outcome::Cancelled];
                for outcome in outcomes.into_iter().cycle().take(2000) {
                    balancer.pick(&Request::new(now), world.rng()).unwrap().finish(outcome, now);
                }
            });
        }
    });
    let sum = |count: fn(&BackendStats) -> u64| balancer.stats().backends.iter().map(count).sum::<u64>();
    let counts = [sum(|b| b.succeeded), sum(|b| b.failed), sum(|b| b.connect_failed), sum(|b| b.cancelled)];
    assert_eq!(counts, [2000; 4]);
}
