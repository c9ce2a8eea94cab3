//! Text from elsewhere, as it can be shown: on one line, without what a terminal would obey or what would turn a line around.

/// The beginning of a text, at most so many of its letters. What is none that can be seen is written as Rust writes it,
/// and so is a backslash: whoever reads it knows what was there.
pub(crate) fn printable(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).flat_map(escaped).collect();
    if text.chars().nth(most).is_some() {
        shown.push_str("...");
    }
    shown
}

/// Quotes mean nothing to whoever reads a line.
fn escaped(letter: char) -> impl Iterator<Item = char> {
    let plain = matches!(letter, '\'' | '"').then_some(letter);
    plain.into_iter().chain(letter.escape_debug().filter(move |_| plain.is_none()))
}

/// Whether a text can be shown as it is.
#[cfg(feature = "discover")]
pub(crate) fn is_printable(text: &str) -> bool {
    text.chars().all(|letter| letter == '\\' || escaped(letter).nth(1).is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_cannot_be_seen_is_written_as_what_it_is() {
        assert_eq!(printable("a\n\\ it's \"é\" \x1b[2J", 40), r#"a\n\\ it's "é" \u{1b}[2J"#);
        assert_eq!(printable("\u{202e}txt\u{2066}\u{200b}\u{85}", 40), r"\u{202e}txt\u{2066}\u{200b}\u{85}");
        assert_eq!((printable("abc", 3), printable("abcd", 3)), ("abc".to_owned(), "abc...".to_owned()));
    }

    proptest! {
        #[test]
        fn no_text_becomes_longer_than_a_few_lines_or_controls_anything(text in any::<String>(), most in 0..99_usize) {
            let shown = printable(&text, most);
            prop_assert!(shown.chars().count() <= 10 * most + 3, "{}", shown);
            let turns = |letter: char| ('\u{202a}'..='\u{202e}').contains(&letter);
            prop_assert!(!shown.contains(|letter: char| letter.is_control() || turns(letter)));
        }
    }
}
