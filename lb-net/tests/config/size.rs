//! Large files: read in time, told of in few lines, and nested no deeper than is good.

use std::time::Duration;

use lb_net::config::parse;

use crate::{GOOD, L3};

/// Files with so many backends: in each way to write them, and with something to tell of each.
fn large(count: usize) -> Vec<String> {
    let words: Vec<String> =
        (0..count).map(|n| format!("10.{}.{}.{}:80:9:2", n / 62_500, n / 250 % 250, n % 250)).collect();
    let each = |form: &dyn Fn(&String) -> String| words.iter().map(form).collect::<String>();
    let group = |backends: String| GOOD.replace(L3, &format!("[[pools.web.groups]]\nbackends = [\n{backends}]"));
    vec![
        GOOD.replace(L3, &format!("groups = \"{}\"", words.join(" "))),
        group(each(&|word| format!("\"{word}\",\n"))),
        group(each(&|word| format!("{{ name = \"{}\", limit = 9 }},\n", &word[..word.len() - 4]))),
        group(each(&|word| format!("{{ name = \"{}\", limit = 0 }},\n", &word[..word.len() - 4]))),
        group(each(&|word| format!("\"{word}:many\",\n"))),
        GOOD.replace(L3, &each(&|word| format!("[[pools.web.groups]]\nbackends = [\"{word}\"]\n"))),
    ]
}

pub(crate) const FEW: usize = 1_000;
pub(crate) const MANY: usize = 10 * FEW;

/// Whether ten times as much takes about ten times as long: a loop in a loop would take a hundred times as long.
pub(crate) fn grows_with_size(time: impl Fn(usize) -> Duration) -> bool {
    // Others use this machine too: one good time will do.
    (0..5).any(|_| time(MANY) < 30 * time(FEW))
}

fn time_to_read(text: &str) -> Duration {
    let began = std::time::Instant::now();
    if let Ok(loaded) = parse(text) {
        assert!(!loaded.model.to_toml().is_empty());
    }
    began.elapsed()
}

#[test]
fn ten_times_as_many_backends_take_about_ten_times_as_long() {
    for (few, many) in large(FEW).iter().zip(&large(MANY)) {
        assert!(grows_with_size(|size| time_to_read(if size == FEW { few } else { many })), "{}", &many[..200]);
    }
}

#[test]
fn what_is_told_of_ten_thousand_backends_is_counted() {
    let all = large(10_000);
    let loaded = parse(&all[3]).unwrap();
    assert_eq!((loaded.warnings.len(), loaded.warnings.len() + loaded.more_warnings), (20, 10_001));
    let problems = parse(&all[4]).unwrap_err();
    assert_eq!((problems.all().len(), problems.count()), (20, 10_000));
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        assert!(parse(&format!("x = {}1{}", open.repeat(20_000), close.repeat(20_000))).is_err());
    }
    assert!(parse(&format!("{}b = 1", "a.".repeat(20_000))).is_err());
    assert!(parse(&format!("[{}b]", "a.".repeat(20_000))).is_err());
}
