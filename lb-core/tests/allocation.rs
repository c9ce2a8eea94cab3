//! A pick, a good outcome and a dropped lease allocate nothing, whatever the selector, the size and the state.

mod support;

use lb_core::{
    BackendConfig, Config, GroupConfig, NoPick, Outcome, Request, SelectorKind, Start, Status, Tried,
    health::{Probe, RiseFall},
    key,
};
use support::{Scene, id};

/// How often `act` turns to the allocator, on this thread.
fn calls(act: impl FnOnce()) -> u64 {
    allocation_counter::measure(act).count_total
}

fn backends(range: std::ops::Range<usize>, change: impl Fn(usize, BackendConfig) -> BackendConfig) -> GroupConfig {
    GroupConfig::new(range.map(|k| change(k, BackendConfig::new(format!("b{k}")))))
}

/// One group, and the same backends in three groups.
fn shapes(
    count: usize,
    kind: SelectorKind,
    change: impl Fn(usize, BackendConfig) -> BackendConfig,
) -> impl Iterator<Item = Config> {
    let parts = [0..count / 3, count / 3..2 * count / 3, 2 * count / 3..count];
    let start = || Config::default().with_start(Start::First);
    let group = |range: std::ops::Range<usize>| backends(range, &change).with_selector(kind);
    let failover = parts.into_iter().map(group).fold(start(), Config::with_group);
    [start().with_group(group(0..count)), failover].into_iter()
}

/// Sizes for a kind: the table of a large hash group takes a debug build long, so one large size must do for all.
fn sizes(kind: SelectorKind, sizes: &'static [usize]) -> impl Iterator<Item = usize> {
    let hashes = matches!(kind, SelectorKind::Hash { .. });
    sizes.iter().copied().filter(move |size| !hashes || *size <= 10)
}

/// What picks, good ends and drops ask of the allocator: it must be nothing.
fn calls_of_traffic(scene: &mut Scene, tried: &Tried) -> u64 {
    let requests = [0, 1, 2].map(|n| {
        let plain = Request::new(scene.now()).with_tried(tried);
        if n == 0 { plain } else { plain.with_key(key::of_bytes(&[n])).with_client(7) }
    });
    let mut pick_once = |request: &Request<'_>| {
        let _ = scene.pick(request).map(|lease| lease.finish(Outcome::Success, request.now));
        let _ = scene.pick(request).map(|mut lease| lease.answered(request.now));
        let _ = scene.pick(request).map(|lease| lease.finish(Outcome::Cancelled, request.now));
    };
    // A thread's first look at a snapshot sets up its place in arc-swap's list.
    pick_once(&requests[0]);
    calls(|| (0..20).for_each(|turn| pick_once(&requests[turn % requests.len()])))
}

#[test]
fn the_count_sees_an_allocation() {
    assert_eq!(calls(|| drop(std::hint::black_box(Box::new(5)))), 1);
}

#[test]
fn traffic_allocates_nothing_whatever_the_selector_and_the_size() {
    for kind in SelectorKind::ALL {
        for config in sizes(kind, &[3, 10, 1000, 10_000]).flat_map(|count| shapes(count, kind, |_, backend| backend)) {
            let mut scene = Scene::new(config);
            assert_eq!(calls_of_traffic(&mut scene, &Tried::default()), 0, "{kind:?}");
            let mut tried = Tried::default();
            (0..8).for_each(|k| tried.insert(id(&format!("b{k}"))));
            assert_eq!(calls_of_traffic(&mut scene, &tried), 0, "{kind:?} with eight tried");
        }
    }
}

#[test]
fn a_hash_table_for_ten_thousand_allocates_nothing_when_it_is_used() {
    let closed = |k: usize, backend: BackendConfig| match k % 4 {
        0 => backend,
        _ => backend.with_status(Status::Disabled),
    };
    let group = backends(0..10_000, closed).with_selector(SelectorKind::Hash { spill: true });
    let mut scene = Scene::new(Config::default().with_group(group));
    assert_eq!(calls_of_traffic(&mut scene, &Tried::default()), 0);
}

#[test]
fn traffic_allocates_nothing_with_three_of_four_disabled() {
    let close = |k: usize, backend: BackendConfig| match k % 4 {
        0 => backend,
        _ => backend.with_status(Status::Disabled),
    };
    for kind in SelectorKind::ALL {
        for config in sizes(kind, &[10, 1000, 10_000]).flat_map(|count| shapes(count, kind, close)) {
            assert_eq!(calls_of_traffic(&mut Scene::new(config), &Tried::default()), 0, "{kind:?}");
        }
    }
}

#[test]
fn traffic_allocates_nothing_on_a_snapshot_older_than_the_health_of_three_in_four() {
    for kind in SelectorKind::ALL {
        for config in sizes(kind, &[10, 1000]).flat_map(|count| shapes(count, kind, |_, backend| backend)) {
            let count = config.backends().count();
            let one = std::num::NonZeroU32::MIN;
            let mut scene = Scene::new(config.with_probes(RiseFall::new(one, one).assuming_up()));
            (0..count).filter(|k| k % 4 > 0).for_each(|k| scene.probe(&format!("b{k}"), Probe::Failed));
            assert_eq!(calls_of_traffic(&mut scene, &Tried::default()), 0, "{kind:?}, not settled");
            scene.settle();
            assert_eq!(calls_of_traffic(&mut scene, &Tried::default()), 0, "{kind:?}, settled");
        }
    }
}

#[test]
fn limits_being_hit_and_no_pick_at_all_allocate_nothing() {
    for kind in SelectorKind::ALL {
        for config in sizes(kind, &[3, 10, 200]).flat_map(|count| shapes(count, kind, |_, b| b.with_limit(1))) {
            let count = config.backends().count();
            let mut scene = Scene::new(config);
            let request = Request::new(scene.now());
            drop(scene.pick(&request));
            let mut held = Vec::with_capacity(count + 1);
            assert_eq!(
                calls(|| while let Ok(lease) = scene.pick(&request) {
                    held.push(lease)
                }),
                0,
                "{kind:?}"
            );
            assert_eq!(scene.pick(&request).unwrap_err(), NoPick::AllFull);
            assert_eq!(held.len(), count, "{kind:?}");
            assert_eq!(calls_of_traffic(&mut scene, &Tried::default()), 0, "{kind:?}, all full");
            assert_eq!(
                calls(|| while let Some(lease) = held.pop() {
                    drop(lease)
                }),
                0,
                "{kind:?}"
            );
        }
    }
}

#[test]
fn nothing_is_allocated_at_the_last_resort_or_where_nobody_may_be_picked() {
    let one = std::num::NonZeroU32::MIN;
    for kind in SelectorKind::ALL {
        for config in shapes(10, kind, |_, backend| backend) {
            let mut scene = Scene::new(config.with_probes(RiseFall::new(one, one).assuming_up()));
            (0..10).for_each(|k| scene.probe(&format!("b{k}"), Probe::Failed));
            assert_eq!(calls_of_traffic(&mut scene, &Tried::default()), 0, "{kind:?}, all silent");
        }
        for config in shapes(10, kind, |_, backend| backend.with_status(Status::Disabled)) {
            let mut scene = Scene::new(config);
            assert_eq!(calls_of_traffic(&mut scene, &Tried::default()), 0, "{kind:?}, all disabled");
            assert!(scene.pick(&Request::new(scene.now())).is_err());
        }
    }
}
