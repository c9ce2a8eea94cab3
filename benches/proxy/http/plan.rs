//! What the load of the HTTP rows does, on its way to a child process.
use super::exchange::Exchange;
use std::time::Duration;

/// What to ask of a product, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) port: u16,
    pub(crate) exchange: Exchange,
    pub(crate) connections: usize,
    /// Requests a second at fixed times, whatever becomes of those before; 0: each connection is always busy.
    pub(crate) per_second: u64,
    pub(crate) warm: Duration,
    pub(crate) run: Duration,
}

impl Plan {
    /// As arguments of a child process.
    pub(crate) fn to_args(self) -> Vec<String> {
        let name = Exchange::ALL.iter().find(|(_, exchange)| *exchange == self.exchange).map_or("", |(name, _)| name);
        let (warm, run) = (self.warm.as_micros() as u64, self.run.as_micros() as u64);
        let numbers = [u64::from(self.port), self.connections as u64, self.per_second, warm, run];
        std::iter::once(name.to_owned()).chain(numbers.map(|number| number.to_string())).collect()
    }

    /// From the arguments of a child process.
    pub(crate) fn from_args(args: &[String]) -> Option<Self> {
        let (name, args) = args.split_first()?;
        let exchange = Exchange::ALL.iter().find(|(known, _)| known == name)?.1;
        let numbers: Vec<u64> = args.iter().map_while(|arg| arg.parse().ok()).collect();
        let [port, connections, per_second, warm, run] = numbers[..] else { return None };
        let (port, connections) = (port.try_into().ok()?, connections as usize);
        let (warm, run) = (Duration::from_micros(warm), Duration::from_micros(run));
        Some(Self { port, exchange, connections, per_second, warm, run })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_the_way_to_a_child() {
        let (warm, run) = (Duration::from_millis(300), Duration::from_secs(1));
        for (_, exchange) in Exchange::ALL {
            let plan = Plan { port: 80, exchange, connections: 64, per_second: 5, warm, run };
            assert_eq!(Plan::from_args(&plan.to_args()), Some(plan));
        }
        assert_eq!(Plan::from_args(&["kept".to_owned(), "1".to_owned()]), None);
    }
}
