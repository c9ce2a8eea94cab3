//! A configuration that runs follows a new file and keeps what people have ordered.

mod support;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use lb_core::{
    BackendConfig, BackendId, Config, GroupConfig, SelectorKind, Start, Status,
    health::{Eject, RiseFall},
};
use proptest::{collection::vec, prelude::*, sample::select};
use support::config;

/// Names are few, so that the three have some in common, and repeat some.
fn backend() -> impl Strategy<Value = BackendConfig> {
    let status = select(vec![Status::Enabled, Status::Enabled, Status::Draining, Status::Disabled]);
    (0..7_u8, proptest::option::of(0..3_u32), 0..3_u16, status).prop_map(|(name, limit, weight, status)| {
        let mut backend = BackendConfig::new(format!("b{name}")).with_weight(weight).with_status(status);
        backend.limit = limit;
        backend
    })
}

fn any_config() -> impl Strategy<Value = Config> {
    let group = (select(&SelectorKind::ALL), vec(backend(), 0..6))
        .prop_map(|(kind, backends)| GroupConfig::new(backends).with_selector(kind));
    let probes = select(vec![None, Some(RiseFall::default()), Some(RiseFall::default().assuming_up())]);
    let ejection = select(vec![None, Some(Eject::default()), Some(Eject::default().with_most_percent(9))]);
    let start = select(&[Start::First, Start::Random]);
    (vec(group, 0..4), probes, ejection, any::<bool>(), 0..3_u64, start).prop_map(
        |(groups, probes, ejection, autodisable, slow_start, start)| {
            let mut config = Config::default().with_slow_start(Duration::from_secs(slow_start)).with_start(start);
            (config.groups, config.probes, config.ejection) = (groups, probes, ejection);
            config.autodisable = autodisable;
            config
        },
    )
}

/// The same with a few backends and settings changed, as by hand.
fn edited(from: &Config) -> impl Strategy<Value = Config> + use<> {
    let from = from.clone();
    let edit = (0..6_u8, any::<prop::sample::Index>(), any::<prop::sample::Index>(), backend());
    vec(edit, 0..6).prop_map(move |edits| {
        let mut config = from.clone();
        for (what, group, at, new) in edits {
            let count = config.groups.len();
            if count == 0 || what == 0 {
                config.groups.push(GroupConfig::new([new]));
                continue;
            }
            let backends = &mut config.groups[group.index(count)].backends;
            let at = at.index(backends.len() + 1);
            match what {
                1 => backends.insert(at, new),
                2 | 3 if at < backends.len() => backends[at] = new,
                4 if at < backends.len() => drop(backends.remove(at)),
                _ if at < backends.len() => backends.swap(0, at),
                _ => config.autodisable ^= true,
            }
        }
        config
    })
}

/// What runs, what was loaded and what is to be: anything at all, or the first and last made of the second.
fn any_three() -> impl Strategy<Value = [Config; 3]> {
    let related = any_config().prop_flat_map(|base| (edited(&base), Just(base.clone()), edited(&base)));
    let unrelated = (any_config(), any_config(), any_config());
    prop_oneof![unrelated, related].prop_map(|(ours, base, theirs)| [ours, base, theirs])
}

fn names(config: &Config) -> BTreeSet<&str> {
    config.groups.iter().flat_map(|group| &group.backends).map(|backend| backend.name.as_str()).collect()
}

fn ids(config: &Config) -> BTreeSet<BackendId> {
    config.backends().map(|(id, ..)| id).collect()
}

proptest! {
    #[test]
    fn where_nobody_has_ordered_anything_it_is_the_new_file(base in any_config(), theirs in any_config()) {
        prop_assert_eq!(base.following(&base, &theirs), theirs);
    }

    #[test]
    fn where_the_file_is_as_it_was_nothing_changes(ours in any_config(), base in any_config()) {
        prop_assert_eq!(ours.following(&base, &base), ours);
    }

    #[test]
    fn a_file_that_says_what_runs_changes_nothing([ours, base, _] in any_three()) {
        prop_assert_eq!(ids(&ours.following(&base, &ours)), ids(&ours));
    }

    #[test]
    fn a_file_that_changes_settings_only_moves_nobody(ours in any_config(), base in any_config(), other in any_config()) {
        let mut theirs = base.clone();
        (theirs.start, theirs.slow_start, theirs.autodisable) = (other.start, other.slow_start, other.autodisable);
        (theirs.probes, theirs.ejection) = (other.probes, other.ejection);
        prop_assert_eq!(ours.following(&base, &theirs).groups, ours.groups);
    }

    /// Whoever is there is one of those that belong there, exactly once.
    #[test]
    fn nobody_is_lost_and_nobody_is_there_twice([ours, base, theirs] in any_three()) {
        let merged = ours.following(&base, &theirs);
        let [o, b, t] = [&ours, &base, &theirs].map(ids);
        let common = o.intersection(&t).copied();
        let made = o.difference(&b).chain(t.difference(&b)).copied();
        let expected: BTreeSet<BackendId> = common.chain(made).collect();
        prop_assert_eq!(merged.backends().count(), expected.len());
        prop_assert!(names(&merged).is_subset(&names(&ours).union(&names(&theirs)).copied().collect()));
    }

    /// Of names that are used once: others change their numbers.
    #[test]
    fn each_setting_of_a_backend_is_the_files_where_that_is_new_and_the_ordered_one_else([ours, base, theirs] in any_three()) {
        let merged = ours.following(&base, &theirs);
        let find = |config: &Config, name: &str| {
            let mut all = config.backends().filter(|(_, _, backend)| backend.name == name);
            let first = all.next().map(|(_, group, backend)| (group, backend.clone()));
            first.filter(|_| all.next().is_none())
        };
        for name in names(&ours) {
            let [Some(o), Some(b), Some(t)] = [&ours, &base, &theirs].map(|config| find(config, name)) else { continue };
            let Some(m) = find(&merged, name) else { return Err(TestCaseError::fail("it is gone")) };
            prop_assert_eq!(m.0, if b.0 == t.0 { o.0 } else { t.0 });
            prop_assert_eq!(m.1.limit, if b.1.limit == t.1.limit { o.1.limit } else { t.1.limit });
            prop_assert_eq!(m.1.weight, if b.1.weight == t.1.weight { o.1.weight } else { t.1.weight });
            prop_assert_eq!(m.1.status, if b.1.status == t.1.status { o.1.status } else { t.1.status });
        }
    }
}

/// What runs, what was loaded, the new file, what runs then.
fn follows(ours: &str, base: &str, theirs: &str, expected: &str) {
    let merged = config(ours).following(&config(base), &config(theirs));
    assert_eq!(merged.to_string(), expected, "{ours} | {base} | {theirs}");
}

#[test]
fn newcomers_stand_where_the_file_has_them() {
    follows("a b", "a b", "n a m b o", "n a m b o");
    follows("a::9 b", "a b", "n a m b o", "n a::9 m b o");
    follows("a b x", "a b", "a b n", "a b n x");
    follows("a x b", "a b", "a b n", "a x b n");
    follows("a b", "a b", "a b ! c d", "a b ! c d");
}

#[test]
fn who_was_taken_out_stays_out_and_who_came_instead_stays() {
    follows("x b", "a b", "a b c", "x b c");
    follows("x b", "a b", "a:::5 b", "x b");
    follows("x b", "a b", "b c", "x b c");
    follows("x b", "a b", "b ! a c", "x b ! c");
}

#[test]
fn who_goes_from_the_file_goes_whatever_was_ordered() {
    follows("a::9 b", "a b", "b", "b");
    follows("a b x", "a b", "", "x");
}

#[test]
fn another_order_and_another_group_are_followed() {
    follows("a::9 b c", "a b c", "c b a", "c b a::9");
    follows("a x b", "a b", "b a", "b a x");
    follows("a::9 b ! c", "a b ! c", "b ! c a", "b ! c a::9");
    follows("a::9 b ! c", "a b ! c", "b ! a c", "b ! a::9 c");
    follows("a b::3 ! c::4", "a b ! c", "n ! a b ! c", "n ! a b::3 ! c::4");
}

#[test]
fn a_group_that_goes_takes_its_backends_with_it_and_stays_for_those_that_were_made() {
    follows("a ! b", "a ! b", "a", "a");
    follows("a ! b x", "a ! b", "a", "a ! x");
    let mut base = config("a ! b %");
    let ours = config("a ! b x %");
    let merged = ours.following(&base, &config("a"));
    assert_eq!(merged, config("a ! x %"), "with its selector");
    base = config("a");
    assert_eq!(merged.following(&base, &config("a c")), config("a c ! x %"));
    assert_eq!(merged.following(&base, &config("a ! d")), config("a ! d x"), "the file's group and selector");
}

#[test]
fn what_the_file_says_newly_of_somebody_made_meanwhile_counts() {
    follows("a x::7", "a", "a x::9:2", "a x::9:2");
    follows("x::7 a", "a", "a x::9:2", "a x::9:2");
}

#[test]
fn a_selector_follows_the_file_only_where_that_is_new() {
    follows("a b % c ! d", "a b ! c ! d", "a b ! c ! d e", "a b % c ! d e");
    follows("a b % c ! d", "a b ! c ! d", "a b ! c % d", "a b % c % d");
    follows("a b % c", "a b ! c", "a b % c", "a b % c");
}

#[test]
fn of_a_name_that_is_used_twice_each_has_its_own_settings() {
    follows("a::1 a::2 b", "a a b", "a a b c", "a::1 a::2 b c");
    follows("a::1 a::2 b", "a a b", "a b", "a::1 b");
    follows("a::1 a::2 b", "a a b", "a a a b", "a::1 a::2 a b");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it measures itself")]
fn ten_thousand_backends_are_merged_at_once() {
    const COUNT: u32 = 10_000;
    let numbered = |from: u32| {
        let backends = (from..from + COUNT).map(|number| BackendConfig::new(format!("backend-{number}:80")));
        Config::default().with_group(GroupConfig::new(backends))
    };
    let (base, mut theirs, mut ours) = (numbered(0), numbered(COUNT / 2), numbered(0));
    theirs.groups[0].backends.reverse();
    ours.groups[0].backends.iter_mut().step_by(3).for_each(|backend| backend.limit = Some(7));
    let measured = || {
        let began = Instant::now();
        let merged = ours.following(&base, &theirs);
        (began.elapsed(), merged)
    };
    // The machine may have other things to do; not every time.
    let (took, merged) = [(); 3].map(|()| measured()).into_iter().min_by_key(|(took, _)| *took).unwrap();
    println!("{COUNT} backends: {took:?}");
    let limited = merged.groups[0].backends.iter().filter(|backend| backend.limit == Some(7)).count();
    assert_eq!((merged.groups[0].backends.len(), limited), (10_000, 1_667));
    // A loop in a loop takes many times as long.
    assert!(took < Duration::from_secs(2), "{took:?}");
}
