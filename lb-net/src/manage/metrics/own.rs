//! The process itself, under the names that all Prometheus clients use. What the system does not tell is left out.

use std::fs;

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

use super::text::{Kind, Text};

/// Writes what is known.
pub(super) fn write(text: &mut Text) {
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::parse) {
        stat.write(text);
    }
    // Without the descriptor that looks.
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        let help = "Number of open file descriptors.";
        gauge(text, "process_open_fds", help, (open.count() as u64).saturating_sub(1));
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        gauge(text, "process_max_fds", "Maximum number of open file descriptors.", most);
    }
}

fn gauge(text: &mut Text, name: &str, help: &str, value: u64) {
    text.family(name, Kind::Gauge, help);
    text.sample(name, "", "", value);
}

/// A part of proc_pid_stat(5).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// User and system.
    cpu_ticks: u64,
    started_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(line: &str) -> Option<Self> {
        // The name of the program is in brackets, and may be anything.
        let fields: Vec<&str> = line.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        // The first of these is the third of the manual page.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)?.saturating_add(field(15)?),
            started_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }

    fn write(&self, text: &mut Text) {
        let seconds = |ticks: u64| ticks as f64 / clock_ticks_per_second() as f64;
        text.family("process_cpu_seconds_total", Kind::Counter, "Total user and system CPU time spent in seconds.");
        text.fraction("process_cpu_seconds_total", "", seconds(self.cpu_ticks));
        gauge(text, "process_virtual_memory_bytes", "Virtual memory size in bytes.", self.virtual_bytes);
        let resident = self.resident_pages.saturating_mul(page_size() as u64);
        gauge(text, "process_resident_memory_bytes", "Resident memory size in bytes.", resident);
        if let Some(booted) = fs::read_to_string("/proc/stat").ok().as_deref().and_then(booted) {
            let help = "Start time of the process since unix epoch in seconds.";
            text.family("process_start_time_seconds", Kind::Gauge, help);
            text.fraction("process_start_time_seconds", "", booted as f64 + seconds(self.started_ticks));
        }
    }
}

/// When the system started, in seconds of the unix epoch.
fn booted(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_confuses_nobody() {
        let line = "7 (a) b) S 1 1 1 0 -1 4194560 100 0 0 0 30 12 0 0 20 0 3 0 555 8192 77 18446744073709551615";
        let expected = Stat { cpu_ticks: 42, started_ticks: 555, virtual_bytes: 8192, resident_pages: 77 };
        assert_eq!(Stat::parse(line), Some(expected));
        for short in ["", "7 (a)", "7 (a) S 1", "7 (a) S 1 1 1 0 -1 4194560 100 0 0 0 x 12 0 0 20 0 3 0 555 8192 77"] {
            assert_eq!(Stat::parse(short), None, "{short}");
        }
    }

    #[test]
    fn the_time_of_boot_is_found() {
        assert_eq!(booted("cpu 1 2\nbtime 1700000000\nprocesses 5\n"), Some(1_700_000_000));
        assert_eq!(booted("cpu 1 2\n"), None);
    }
}
