//! An instance in few words.

use lb_net::{config::PoolSize, instance::Instance, manage::Process as _};

/// What is served where, in one line.
pub(crate) fn summary(instance: &Instance) -> String {
    let services = instance.services();
    let places: Vec<&str> = services.iter().flat_map(|service| &service.listen).map(String::as_str).collect();
    let line = format!("listening on {}", places.join(", "));
    match (&places[..], &instance.pools()[..]) {
        ([_], [(_, pool)]) => format!("{line}: {}", PoolSize::from(&pool.config())),
        _ => line,
    }
}
