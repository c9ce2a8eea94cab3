//! An instance in few words.

use lb_net::{instance::Instance, manage::Process as _};

/// What is served where, in one line.
pub(crate) fn summary(instance: &Instance) -> String {
    let services = instance.services();
    let places: Vec<&str> = services.iter().flat_map(|service| &service.listen).map(String::as_str).collect();
    let line = format!("listening on {}", places.join(", "));
    match (&places[..], &instance.pools()[..]) {
        ([_], [(_, pool)]) => {
            let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
            let backends = pool.stats().backends;
            let groups = backends.last().map_or(0, |last| last.group + 1);
            format!("{line}: {} in {}", plural(backends.len(), "backend"), plural(groups, "group"))
        }
        _ => line,
    }
}
