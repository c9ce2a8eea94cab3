//! The tests under full load, and what is asked of `lb` in each.
use crate::http::exchange::Exchange;
use crate::http::plan::Plan as HttpPlan;
use crate::tcp::load::Plan as TcpPlan;
use std::time::Duration;

/// Backends behind every product, where a test does not say otherwise.
pub(crate) const USUAL_BACKENDS: usize = 4;

/// Connections that are busy, where a test does not say otherwise.
const CONNECTIONS: usize = 64;

/// Connections with uploads: more would only share the same CPU.
const UPLOADS: usize = 4;

/// Requests a second at fixed times: far from the limit of any product.
const FIXED_RATE: u64 = 5000;

/// A reply that never ends within a run.
const ENDLESS: u64 = 1 << 60;

/// Bytes of a small reply.
const SMALL: u64 = 100;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    Tcp,
    Http,
}

/// One kind of load.
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) load: Load,
    pub(crate) backends: usize,
    pub(crate) warm: Duration,
    pub(crate) unit: Unit,
    /// Whether system calls are counted for each unit.
    pub(crate) counted: bool,
    pub(crate) goals: &'static [Bound],
}

/// What the clients do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    Tcp { connections: usize, reply_bytes: u64, reconnect: bool },
    Http { connections: usize, exchange: Exchange, per_second: u64 },
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Exchange,
    Mebibyte,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Mebibyte => "MiB",
        }
    }
}

/// What is compared with HAProxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// CPU time for each unit.
    Cpu,
    /// Units a second: the one where more is better.
    Rate,
    /// The 99th percentile of the time from when a request was due to its answer.
    P99,
}

/// The ratio to HAProxy that we ask of `lb`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) of: Figure,
    pub(crate) must: f64,
    pub(crate) aim: f64,
}

/// What a child process is to do as load.
#[derive(Debug)]
pub(crate) struct Job {
    /// Its role, one of the hidden commands.
    pub(crate) role: &'static str,
    pub(crate) args: Vec<String>,
}

const fn cpu(must: f64, aim: f64) -> Bound {
    Bound { of: Figure::Cpu, must, aim }
}

/// A test of small exchanges over TCP; the others differ from it, or from the next.
const TCP: Test = Test {
    name: "small",
    title: "small messages",
    load: Load::Tcp { connections: CONNECTIONS, reply_bytes: SMALL, reconnect: false },
    backends: USUAL_BACKENDS,
    warm: Duration::from_millis(500),
    unit: Unit::Exchange,
    counted: true,
    goals: &[cpu(0.95, 0.85)],
};

/// A test of small exchanges over HTTP.
const HTTP: Test = Test {
    name: "kept",
    title: "HTTP, kept connections",
    load: Load::Http { connections: CONNECTIONS, exchange: Exchange::Kept, per_second: 0 },
    goals: &[cpu(0.65, 0.50), Bound { of: Figure::Rate, must: 1.4, aim: 2.0 }],
    ..TCP
};

/// A test of bulk transfer over TCP.
const BULK: Test = Test { warm: Duration::from_millis(300), unit: Unit::Mebibyte, counted: false, ..TCP };

/// Every test, in the order it is made.
pub(crate) const TESTS: [Test; 11] = [
    Test {
        name: "newconn",
        title: "new connections",
        load: Load::Tcp { connections: CONNECTIONS, reply_bytes: SMALL, reconnect: true },
        ..TCP
    },
    TCP,
    Test {
        name: "bulk1",
        title: "bulk, 1 connection",
        load: Load::Tcp { connections: 1, reply_bytes: ENDLESS, reconnect: false },
        goals: &[cpu(0.30, 0.25)],
        ..BULK
    },
    Test {
        name: "bulk8",
        title: "bulk, 8 connections",
        load: Load::Tcp { connections: 8, reply_bytes: ENDLESS, reconnect: false },
        goals: &[cpu(0.26, 0.20)],
        ..BULK
    },
    HTTP,
    Test {
        name: "close",
        title: "HTTP, a new connection for each request",
        load: Load::Http { connections: CONNECTIONS, exchange: Exchange::Close, per_second: 0 },
        goals: &[cpu(0.80, 0.60)],
        ..HTTP
    },
    Test {
        name: "answer100k",
        title: "HTTP, answers of 100 KiB",
        load: Load::Http { connections: CONNECTIONS, exchange: Exchange::Answer100k, per_second: 0 },
        goals: &[cpu(0.70, 0.55)],
        ..HTTP
    },
    Test {
        name: "upload10m",
        title: "HTTP, uploads of 10 MiB",
        load: Load::Http { connections: UPLOADS, exchange: Exchange::Upload10m, per_second: 0 },
        unit: Unit::Mebibyte,
        counted: false,
        goals: &[cpu(0.60, 0.35)],
        ..HTTP
    },
    Test {
        name: "rate5k",
        title: "HTTP, 5 000 requests a second",
        load: Load::Http { connections: CONNECTIONS, exchange: Exchange::Kept, per_second: FIXED_RATE },
        counted: false,
        goals: &[cpu(0.70, 0.55), Bound { of: Figure::P99, must: 1.0, aim: 0.5 }],
        ..HTTP
    },
    Test { name: "backends2", title: "HTTP, 2 backends", backends: 2, counted: false, goals: &[], ..HTTP },
    Test { name: "backends100", title: "HTTP, 100 backends", backends: 100, counted: false, goals: &[], ..HTTP },
];

/// The tests whose own ratio is of interest.
pub(crate) const FEW_AND_MANY: [&str; 2] = ["backends2", "backends100"];

impl Test {
    pub(crate) fn layer(&self) -> Layer {
        match self.load {
            Load::Tcp { .. } => Layer::Tcp,
            Load::Http { .. } => Layer::Http,
        }
    }

    /// Whether the bytes of one direction pass without end.
    pub(crate) fn is_tcp_bulk(&self) -> bool {
        matches!(self.load, Load::Tcp { reply_bytes: ENDLESS, .. })
    }

    /// Whether requests come at fixed times, so that the time of an answer means something.
    pub(crate) fn is_paced(&self) -> bool {
        matches!(self.load, Load::Http { per_second: 1.., .. })
    }

    /// Whether both are made in the same rounds, to be compared with one another.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        [self, other].iter().all(|test| FEW_AND_MANY.contains(&test.name))
    }

    /// What to ask of `port` for so long after so long a warm-up.
    pub(crate) fn job(&self, port: u16, warm: Duration, run: Duration) -> Job {
        match self.load {
            Load::Tcp { connections, reply_bytes, reconnect } => {
                let plan = TcpPlan { port, connections, reply_bytes, reconnect, warm, run };
                Job { role: "load", args: plan.to_args() }
            }
            Load::Http { connections, exchange, per_second } => {
                let plan = HttpPlan { port, exchange, connections, per_second, warm, run };
                Job { role: "http-load", args: plan.to_args() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_test_has_a_name_of_its_own() {
        assert_eq!(TESTS.iter().map(|test| test.name).collect::<HashSet<_>>().len(), TESTS.len());
        assert!(FEW_AND_MANY.iter().all(|name| TESTS.iter().any(|test| test.name == *name)));
    }
}
