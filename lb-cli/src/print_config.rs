//! `--print-config`: a command line as a configuration file.

use std::fmt::Write as _;

use crate::{args::Balance, failure::Failure, plan::Plan, target::Target};

/// The file that does what these words do, and what they mean at the moment.
///
/// # Errors
/// When control has no place.
pub(crate) fn text(words: impl Iterator<Item = String>, args: &Balance, plan: &Plan) -> Result<String, Failure> {
    let daemon = if args.is_daemon() { " --daemon" } else { "" };
    let mut text = format!("# lb run{daemon} --config FILE does what this does: {}\n", command_line(words));
    for (name, addresses) in resolved(args, plan)? {
        // Into memory: it does not fail.
        let _ = writeln!(text, "# At the moment {name} is {addresses}.");
    }
    if let Some(host) = known_by(args, plan)? {
        let _ = writeln!(text, "# To -i and -c it is the lb at -b {host}.");
    }
    Ok(text + "\n" + &plan.model.to_toml())
}

/// As it can be typed again, without the wish to have it printed.
fn command_line(words: impl Iterator<Item = String>) -> String {
    let mut text = "lb".to_owned();
    let mut are_options = true;
    for word in words {
        are_options &= word != "--";
        if !(are_options && word == "--print-config") {
            text.extend([" ", &typed(&word)]);
        }
    }
    text
}

/// A word as a shell reads it, on one line. What cannot be printed is written as bash and zsh write it.
fn typed(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_+=.,:/@%[]".contains(letter);
    match word {
        "!" => word.to_owned(),
        _ if !word.is_empty() && word.chars().all(plain) => word.to_owned(),
        _ if word.chars().any(char::is_control) => {
            let letter = |letter: char| match letter {
                '\'' | '\\' => format!("\\{letter}"),
                letter if letter.is_control() => format!("\\u{:04x}", u32::from(letter)),
                letter => letter.to_string(),
            };
            format!("$'{}'", word.chars().map(letter).collect::<String>())
        }
        _ => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// What names stand for, each once.
fn resolved(args: &Balance, plan: &Plan) -> Result<Vec<(String, String)>, Failure> {
    let mut all: Vec<(String, String)> = Vec::new();
    for endpoint in plan.endpoints(&args.words)?.iter().filter(|endpoint| !endpoint.is_numeric()) {
        let name = endpoint.to_string();
        if all.iter().all(|(known, _)| *known != name) {
            let addresses: Vec<String> = endpoint.addresses().iter().map(ToString::to_string).collect();
            all.push((name, addresses.join(", ")));
        }
    }
    Ok(all)
}

/// By which `-b` the file's service is controlled, if by another one than this command line's.
fn known_by(args: &Balance, plan: &Plan) -> Result<Option<String>, Failure> {
    let own = Target::new(args)?.socket();
    for listen in plan.model.services().values().flat_map(|service| service.listen()) {
        if Target::at(listen, args.control_dir.as_deref())?.socket() != own {
            return Ok(listen.host().map(str::to_owned));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_written_as_a_shell_reads_them() {
        let line =
            ["-m", "command=it's %H", "80", "[::1]:80", "!", "%", "a\nb\\", "--print-config", "--", "--print-config"];
        let written = command_line(line.into_iter().map(str::to_owned));
        assert_eq!(written, r"lb -m 'command=it'\''s %H' 80 [::1]:80 ! % $'a\u000ab\\' -- --print-config");
    }

    proptest! {
        /// TOML allows a tab only, and a line break would end the comment.
        #[test]
        fn no_word_leaves_the_comment(words in proptest::collection::vec(any::<String>(), 0..4)) {
            prop_assert!(!command_line(words.into_iter()).contains(char::is_control));
        }
    }
}
