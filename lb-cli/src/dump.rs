//! `-p`: payload as text, the way balance dumps it.

use std::fmt::Write as _;

/// Columns after which a line is broken.
const WIDTH: usize = 80;

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToBackend,
    ToClient,
}

/// One piece of payload: a line with its way and its length, then what it says. Bytes that are not printable stand as
/// `\XX`, a backslash is doubled, and lines end behind each line end of the payload and at the width of a terminal.
pub(crate) fn text(way: Way, bytes: &[u8]) -> String {
    let mark = if way == Way::ToBackend { "->" } else { "-<" };
    let mut text = format!("{mark} {}\n", bytes.len());
    let mut column = 0;
    for byte in bytes {
        let before = text.len();
        match byte {
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => drop(write!(text, "\\{byte:02X}")),
        }
        column += text.len() - before;
        if *byte == b'\n' || column >= WIDTH {
            text.push('\n');
            column = 0;
        }
    }
    if column > 0 {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_printed_is_told_by_its_number() {
        let dumped = text(Way::ToBackend, b"GET /\\ HTTP/1.0\r\n\r\n\xff");
        assert_eq!(dumped, "-> 20\nGET /\\\\ HTTP/1.0\\0D\\0A\n\\0D\\0A\n\\FF\n");
        assert_eq!(text(Way::ToClient, b"a"), "-< 1\na\n");
    }

    #[test]
    fn long_lines_are_broken_and_no_byte_is_lost() {
        let dumped = text(Way::ToClient, &[b'x'; 200]);
        let lengths: Vec<usize> = dumped.lines().skip(1).map(str::len).collect();
        assert_eq!(lengths, [80, 80, 40]);
    }
}
