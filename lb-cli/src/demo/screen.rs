//! Where the demo is shown: a terminal whose table stays below the events, or anything else, line by line.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use super::terminal::Terminal;

/// How often a table is drawn, and how often a line is written.
const REDRAW: Duration = Duration::from_millis(200);
const LINE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Screen {
    terminal: Option<Terminal>,
    /// The lines of the table that is to be seen.
    table: Vec<String>,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { terminal: Terminal::open()?, table: Vec::new() })
    }

    pub(super) fn has_keys(&self) -> bool {
        self.terminal.as_ref().is_some_and(Terminal::has_keys)
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    pub(super) fn refresh(&self) -> Duration {
        if self.terminal.is_some() { REDRAW } else { LINE }
    }

    /// The next key, if there are any.
    pub(super) async fn key(&mut self) -> u8 {
        match &mut self.terminal {
            Some(terminal) => terminal.key().await,
            None => std::future::pending().await,
        }
    }

    /// Lines that stay. The table, if there is one, moves below them.
    pub(super) fn say(&mut self, lines: &str) -> io::Result<()> {
        self.write(&format!("{lines}\n"), None)
    }

    /// This table instead of the last one.
    pub(super) fn draw(&mut self, table: Vec<String>) -> io::Result<()> {
        self.write("", Some(table))
    }

    /// The table stays as it is, above what comes.
    pub(super) fn leave_table(&mut self) {
        self.table.clear();
    }

    /// One write for all, so that nothing flickers.
    fn write(&mut self, above: &str, table: Option<Vec<String>>) -> io::Result<()> {
        let mut text = String::new();
        if !self.table.is_empty() {
            // Up to the table's first line, and clear from there to the end of the screen.
            text = format!("\x1b[{}A\r\x1b[J", self.table.len());
        }
        text += above;
        self.table = table.unwrap_or_else(|| std::mem::take(&mut self.table));
        let width = Terminal::width();
        for line in &self.table {
            text.extend(line.chars().take(width));
            text.push('\n');
        }
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}
