//! Prometheus' text format, line by line.

use std::fmt::Write as _;

/// What a family's values do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// They grow, and begin at 0 again now and then.
    Counter,
    Gauge,
    /// Counts for each bound, how many there were, and their sum.
    Histogram,
}

/// A text that grows. The families come one after the other, each with all of its samples.
#[derive(Debug)]
pub(super) struct Text(String);

impl Text {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    /// Begins a family. `help` has neither a backslash nor a line end.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Into memory: it does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One value of a series with these labels, and one more.
    pub(super) fn sample(&mut self, name: &str, labels: &str, label: &str, value: u64) {
        self.series(name, labels, label);
        self.number(value);
        self.0.push('\n');
    }

    /// The same for what is no whole number.
    pub(super) fn fraction(&mut self, name: &str, labels: &str, value: f64) {
        self.series(name, labels, "");
        let _ = writeln!(self.0, "{value}");
    }

    /// A value above all others.
    pub(super) fn infinite(&mut self, name: &str, labels: &str) {
        self.series(name, labels, "");
        self.0.push_str("+Inf\n");
    }

    pub(super) fn finish(self) -> String {
        self.0
    }

    fn series(&mut self, name: &str, labels: &str, label: &str) {
        self.0.push_str(name);
        if !labels.is_empty() {
            self.0.push('{');
            self.0.push_str(labels);
            if !label.is_empty() {
                self.0.push(',');
                self.0.push_str(label);
            }
            self.0.push('}');
        }
        self.0.push(' ');
    }

    /// Most of them have one digit, and there are many: faster than the formatter.
    fn number(&mut self, value: u64) {
        match u8::try_from(value) {
            Ok(digit @ 0..=9) => self.0.push(char::from(b'0' + digit)),
            _ => drop(write!(self.0, "{value}")),
        }
    }
}

/// A label's value: a backslash, a quote and a line end are written with a backslash.
pub(super) fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_has_its_labels_in_braces_or_no_braces() {
        let mut text = Text::with_capacity(0);
        text.family("a_total", Kind::Counter, "What.");
        text.sample("a_total", "", "", 10);
        text.sample("a_total", "x=\"1\"", "", 9);
        text.sample("a_total", "x=\"1\"", "y=\"2\"", u64::MAX);
        text.infinite("b", "x=\"1\"");
        text.fraction("c", "", 0.25);
        text.fraction("c", "x=\"1\"", 0.000128);
        let expected = "\
# HELP a_total What.
# TYPE a_total counter
a_total 10
a_total{x=\"1\"} 9
a_total{x=\"1\",y=\"2\"} 18446744073709551615
b{x=\"1\"} +Inf
c 0.25
c{x=\"1\"} 0.000128
";
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn three_characters_are_escaped() {
        assert_eq!(escaped("a\\b\"c\nd{},é"), "a\\\\b\\\"c\\nd{},é");
    }
}
