//! Examples without a network print their story and end.
#![allow(clippy::unwrap_used, reason = "what an example prints is as expected, or the test fails")]

mod support;

use support::run;

#[test]
fn quick_start_fills_both_backends_and_then_the_spare() {
    let printed = run(env!("CARGO_BIN_EXE_quick_start"));
    let backends = ["alpha", "beta", "alpha", "beta", "spare"];
    for (number, (line, backend)) in printed.iter().zip(backends).enumerate() {
        assert_eq!(*line, format!("request {} goes to http://{backend}:80/", number + 1));
    }
    assert_eq!(printed[5..], ["now: alpha:80: chosen", "beta:80: has room", "spare:80: has room"]);
}

#[test]
fn custom_selector_takes_the_heaviest_that_has_room() {
    assert_eq!(run(env!("CARGO_BIN_EXE_custom_selector")), ["large:80", "large:80", "medium:80"]);
}

#[test]
fn custom_health_policy_sets_one_backend_aside_and_has_it_back() {
    let printed = run(env!("CARGO_BIN_EXE_custom_health_policy"));
    let health: Vec<&str> = printed.iter().filter_map(|line| line.split_once(" s  ")).map(|(_, event)| event).collect();
    assert!(health.iter().all(|event| event.starts_with("beta is ")), "{printed:#?}");
    assert!(health.first().is_some_and(|event| event.starts_with("beta is ejected")), "{printed:#?}");
    assert_eq!(health.last(), Some(&"beta is up (tried again with success)"));
    assert_eq!(printed.iter().filter(|line| line.contains("went well")).count(), 3);
    assert_eq!(printed, run(env!("CARGO_BIN_EXE_custom_health_policy")), "the same story each time");
}

/// The counts behind a line that begins so.
fn counts(printed: &[String], what: &str) -> Vec<(String, usize)> {
    let line = printed.iter().find_map(|line| line.strip_prefix(what)?.strip_prefix(": "));
    let counts = line.unwrap_or_else(|| panic!("no '{what}' in {printed:#?}")).split(", ");
    counts
        .filter_map(|count| count.split_once(' '))
        .map(|(shard, count)| (shard.into(), count.parse().unwrap()))
        .collect()
}

/// What the line behind that says of customers that moved: how many, from where, to where.
fn moves<'a>(printed: &'a [String], what: &str) -> Vec<(usize, &'a str, &'a str)> {
    let at = printed.iter().position(|line| line.starts_with(what)).unwrap();
    let moves = printed[at + 1].trim().trim_start_matches("moved: ").split(", ").filter(|moved| *moved != "none");
    let parts = |moved: &'a str| {
        let (count, way) = moved.split_once(" from ").unwrap();
        let (from, to) = way.split_once(" to ").unwrap();
        (count.parse().unwrap(), from, to)
    };
    moves.map(parts).collect()
}

#[test]
fn sharding_moves_only_the_customers_concerned() {
    let printed = run(env!("CARGO_BIN_EXE_sharding"));
    let three = counts(&printed, "three shards");
    assert!(three.len() == 3 && three.iter().all(|(_, count)| (280..390).contains(count)), "{three:?}");

    let joined = moves(&printed, "delta joins");
    let moved: usize = joined.iter().map(|(count, ..)| count).sum();
    assert!(joined.iter().all(|(_, _, to)| *to == "delta") && (200..300).contains(&moved), "{joined:?}");

    let lost = moves(&printed, "beta is down");
    let of_beta = counts(&printed, "delta joins").into_iter().find(|(shard, _)| shard == "beta").unwrap().1;
    assert_eq!(lost.iter().map(|(count, ..)| count).sum::<usize>(), of_beta);
    assert!(lost.iter().all(|(_, from, _)| *from == "beta") && lost.len() == 3, "{lost:?}");

    assert_eq!(moves(&printed, "beta is back"), []);
    let grown = moves(&printed, "alpha has three times the weight");
    assert!(!grown.is_empty() && grown.iter().all(|(_, _, to)| *to == "alpha"), "{grown:?}");
}
