//! The manual page and shell completions, from the same definition that the command line is read with.

use std::io;

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use crate::args::{self, Balance, Page};

/// What `--generate` prints.
pub(crate) fn page(page: Page) -> String {
    let mut command = Balance::command();
    let shell = match page {
        Page::Man => return manual(),
        Page::Bash => Shell::Bash,
        Page::Zsh => Shell::Zsh,
        Page::Fish => Shell::Fish,
    };
    let mut text = Vec::new();
    generate(shell, &mut command, "lb", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// `lb.1`.
fn manual() -> String {
    let man = Man::new(Balance::command()).manual("User Commands").date("");
    let mut text = Vec::new();
    // Into memory: it does not fail, and a page without a part would be seen by the test.
    let _ = write_manual(&man, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn write_manual(man: &Man, text: &mut Vec<u8>) -> io::Result<()> {
    man.render_title(text)?;
    man.render_name_section(text)?;
    usage().to_writer(text)?;
    man.render_description_section(text)?;
    Roff::new().control("SH", ["BACKENDS"]).text([roman(args::WORDS)]).to_writer(text)?;
    man.render_options_section(text)?;
    let mut rest = Roff::new();
    list(&mut rest, "CHECKS", &args::CHECKS);
    as_it_is(&mut rest, "ANSWERS TO CHECKS", args::SAID);
    for (title, text) in [("LB RUN", args::RUN), ("LB CHECK", args::CHECK), ("LB DIFF", args::DIFF)] {
        as_it_is(&mut rest, title, text);
    }
    list(&mut rest, "EXAMPLES", &args::EXAMPLES);
    list(&mut rest, "EXIT STATUS", &args::STATUSES);
    list(&mut rest, "SIGNALS", &args::SIGNALS);
    list(&mut rest, "ENVIRONMENT", &args::ENVIRONMENT);
    list(&mut rest, "FILES", &args::FILES);
    rest.to_writer(text)
}

fn usage() -> Roff {
    let mut section = Roff::new();
    section.control("SH", ["SYNOPSIS"]);
    for line in args::SYNOPSIS {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        section.text([bold(name), roman(format!(" {rest}"))]);
        section.control("br", []);
    }
    section
}

/// Lines that are broken already.
fn as_it_is(page: &mut Roff, title: &str, text: &str) {
    page.control("SH", [title]).control("nf", []);
    for line in text.lines() {
        page.text([roman(line)]);
    }
    page.control("fi", []);
}

fn list(page: &mut Roff, title: &str, items: &[(&str, &str)]) {
    page.control("SH", [title]);
    for (word, what) in items {
        page.control("TP", []).text([bold(*word)]).text([roman(*what)]);
    }
}
