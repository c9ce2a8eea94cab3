//! Mistakes in the language itself, in words that say what to do.

use std::ops::Range;

/// The same complaint of the parser of TOML with a remedy. `at` is what it is about.
pub(super) fn plainly(complaint: &str, text: &str, at: Range<usize>) -> String {
    let word = text.get(at.clone()).unwrap_or_default();
    let rest = text.get(at.start..).unwrap_or_default();
    let line = rest.lines().next().unwrap_or_default().trim_end();
    match complaint {
        _ if complaint.starts_with("duplicate key") => {
            format!("duplicate key: '{word}' is there already, and each key or table is written once")
        }
        _ if complaint.starts_with("string values must be quoted") => {
            let key =
                text.get(..at.start).and_then(|before| before.lines().next_back()).unwrap_or_default().trim_start();
            if key.starts_with("token") {
                // It is a secret, and this goes to logs.
                return "expected text in quotes".to_owned();
            }
            let bare = word.trim_matches(|letter: char| "“”„‘’«»\"'".contains(letter));
            format!("expected a number, true or false, or text in quotes, such as \"{bare}\"")
        }
        _ if complaint.starts_with("unexpected leading zero") => "a number does not begin with 0".to_owned(),
        _ if complaint.contains("unquoted key") => match line {
            _ if line.starts_with("//") || line.starts_with(';') => "a comment begins with '#'".to_owned(),
            _ if line.starts_with(':') => "a key and its value have '=' between them: key = value".to_owned(),
            _ => "expected a key: letters, digits, '-' and '_', and then '='".to_owned(),
        },
        _ if complaint.starts_with("key with no value") => {
            "expected '=' and a value behind the key: key = value".to_owned()
        }
        _ if complaint.starts_with("invalid key-value pair") => {
            "expected a key or a table, such as listen = 80 or [services.NAME]".to_owned()
        }
        _ if complaint.starts_with("unexpected key or value") => {
            "expected the end of the line: each key has a line of its own, and a comment begins with '#'".to_owned()
        }
        _ => complaint.to_owned(),
    }
}
