//! Sharding by key, without any network: which shard has which customer, and how few of them move when something changes.
#![allow(clippy::print_stdout)]

use std::{collections::BTreeMap, error::Error, time::Instant};

use lb_core::{
    BackendConfig, BackendId, Balancer, Config, GroupConfig, NoPick, Request, SelectorKind, Status, key,
    rand::{SeedableRng as _, rngs::SmallRng},
};

/// So many customers are to be found again.
const CUSTOMERS: usize = 1000;

/// The shard of each customer.
type Map = Vec<String>;

/// Shards and their weights. A shard that is down leaves its customers to the others for the time being, each of which
/// takes a part: that is what `spill` says.
fn shards(weights: &[(&str, u16)]) -> Config {
    let shards = weights.iter().map(|(name, weight)| BackendConfig::new(*name).with_weight(*weight));
    Config::default().with_group(GroupConfig::new(shards).with_selector(SelectorKind::Hash { spill: true }))
}

/// Asks for each customer. The answer depends on the key and on the shards, and on nothing else: every process that
/// knows the shards gives the same one, today and after every restart.
fn map(balancer: &Balancer<()>, rng: &mut SmallRng) -> Result<Map, NoPick> {
    let shard = |number| {
        let customer = format!("customer {number}");
        let request = Request::new(Instant::now()).with_key(key::of_bytes(customer.as_bytes()));
        // A lease holds a place while work is done; only the name is wanted here.
        Ok(balancer.pick(&request, rng)?.name().to_owned())
    };
    (0..CUSTOMERS).map(shard).collect()
}

/// Tells who has how many customers, and where those came from that moved.
fn tell(what: &str, before: &Map, after: &Map) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    after.iter().for_each(|shard| *counts.entry(shard).or_default() += 1);
    let counts: Vec<String> = counts.iter().map(|(shard, count)| format!("{shard} {count}")).collect();
    println!("{what}: {}", counts.join(", "));
    let mut moves: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let moved = before.iter().zip(after).filter(|(from, to)| from != to);
    moved.for_each(|(from, to)| *moves.entry((from, to)).or_default() += 1);
    let moves: Vec<String> = moves.iter().map(|((from, to), count)| format!("{count} from {from} to {to}")).collect();
    println!("  moved: {}", if moves.is_empty() { "none".to_owned() } else { moves.join(", ") });
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut rng = SmallRng::seed_from_u64(7);
    let three = [("alpha", 1), ("beta", 1), ("gamma", 1)];
    let balancer = Balancer::new(shards(&three), Instant::now(), &mut rng, |_| ());
    let first = map(&balancer, &mut rng)?;
    tell("three shards", &first, &first);

    // One more takes a quarter of the customers, and nobody else moves.
    let four = [three[0], three[1], three[2], ("delta", 1)];
    balancer.update(shards(&four), Instant::now(), |_| ());
    let second = map(&balancer, &mut rng)?;
    tell("delta joins", &first, &second);

    // One that is down loses its own customers for as long as that lasts, and no other customer moves.
    let beta = BackendId::new("beta", 0);
    balancer.set_status(beta, Status::Disabled, Instant::now())?;
    tell("beta is down", &second, &map(&balancer, &mut rng)?);
    balancer.set_status(beta, Status::Enabled, Instant::now())?;
    let third = map(&balancer, &mut rng)?;
    tell("beta is back", &second, &third);

    // A larger machine draws customers to itself alone, until it has its share.
    balancer.set_weight(BackendId::new("alpha", 0), 3, Instant::now())?;
    tell("alpha has three times the weight", &third, &map(&balancer, &mut rng)?);
    Ok(())
}
