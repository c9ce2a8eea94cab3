//! Values as TOML.

use super::Time;

/// What was asked for, or the word for what holds without it.
pub(super) fn or(value: Option<&impl ToString>, without: &str) -> String {
    value.map_or_else(|| quoted(without), |value| quoted(&value.to_string()))
}

pub(super) fn time(time: Time) -> String {
    quoted(&time.to_string())
}

pub(super) fn time_or(time: Option<Time>, without: &str) -> String {
    or(time.as_ref(), without)
}

pub(super) fn duration(duration: std::time::Duration) -> String {
    quoted(&humantime::format_duration(duration).to_string())
}

/// A name with a dot in it would be two keys.
pub(super) fn quoted_key(name: &str) -> String {
    if name.contains('.') { quoted(name) } else { name.to_owned() }
}

/// A text as TOML's basic string.
/// ```
/// assert_eq!(lb_net::config::quoted("a\"b\n"), "\"a\\\"b\\u000A\"");
/// ```
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(letter))),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_string_is_read_as_it_was_written(text in any::<String>()) {
            let written = quoted(&text);
            let read = toml::de::DeValue::parse(&written).unwrap();
            prop_assert_eq!(read.get_ref().as_str(), Some(text.as_str()));
        }
    }
}
