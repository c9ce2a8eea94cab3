//! What a run of the load has done, on its way from one process to the other.

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// Complete exchanges in the measured time.
    pub(crate) exchanges: u64,
    /// Bytes moved in the measured time: of replies, or of uploads.
    pub(crate) bytes: u64,
    /// Complete exchanges of the warm-up, and of those that were under way when the time was over.
    pub(crate) other_exchanges: u64,
    /// Bytes moved by those.
    pub(crate) other_bytes: u64,
    /// Connections that failed or ended too early.
    pub(crate) errors: u64,
    /// CPU time of the load itself.
    pub(crate) cpu_ns: u64,
    /// With a fixed rate: the 50th, 99th and 99.9th percentile of the time from when a request was due to its answer.
    pub(crate) latency_ns: [u64; 3],
}

impl Work {
    /// One line of text.
    pub(crate) fn to_line(self) -> String {
        let Self { exchanges, bytes, other_exchanges, other_bytes, errors, cpu_ns, latency_ns: [p50, p99, p999] } =
            self;
        let numbers = [exchanges, bytes, other_exchanges, other_bytes, errors, cpu_ns, p50, p99, p999];
        numbers.map(|number| number.to_string()).join(" ")
    }

    /// From a line of text.
    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let numbers: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
        let [exchanges, bytes, other_exchanges, other_bytes, errors, cpu_ns, p50, p99, p999] = numbers[..] else {
            return None;
        };
        let latency_ns = [p50, p99, p999];
        Some(Self { exchanges, bytes, other_exchanges, other_bytes, errors, cpu_ns, latency_ns })
    }

    /// The work of one thread, whose CPU time is read now.
    pub(crate) fn with_own_cpu(self) -> Self {
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Self { cpu_ns: cpu.tv_sec as u64 * 1_000_000_000 + cpu.tv_nsec as u64, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_survives_the_way_from_a_child() {
        let (latency_ns, cpu_ns) = ([7, 8, 9], 6);
        let work = Work { exchanges: 1, bytes: 2, other_exchanges: 3, other_bytes: 4, errors: 5, cpu_ns, latency_ns };
        assert_eq!(Work::from_line(&work.to_line()), Some(work));
        assert_eq!(Work::from_line("1 2 3"), None);
    }
}
