//! What clients have sent, so that it ends neither its line nor its quotes, and does nothing to a terminal.

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// As nginx does it: a quote, a backslash, control characters and bytes from 0x80 on are `\xHH`. No reader takes that for
/// the end of the field, which some do with `\"`.
pub(super) fn text(bytes: &[u8], out: &mut Vec<u8>) {
    each(bytes, out, |rest, out| {
        let Some((byte, rest)) = rest.split_first() else { return rest };
        let digit = |at: u8| HEX.get(usize::from(at)).copied().unwrap_or(b'?');
        out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
        rest
    });
}

/// The inside of a JSON string (RFC 8259 section 7). Characters that are no control characters are themselves; bytes that
/// are no UTF-8 are replacement characters.
pub(super) fn json(bytes: &[u8], out: &mut Vec<u8>) {
    each(bytes, out, |rest, out| {
        let length = rest.iter().position(|byte| is_plain(*byte)).unwrap_or(rest.len());
        let (odd, rest) = rest.split_at(length);
        for chunk in odd.utf8_chunks() {
            chunk.valid().chars().for_each(|letter| json_letter(letter, out));
            if !chunk.invalid().is_empty() {
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
        rest
    });
}

/// One that is not plain.
fn json_letter(letter: char, out: &mut Vec<u8>) {
    match letter {
        '"' | '\\' => out.extend_from_slice(&[b'\\', letter as u8]),
        letter if letter.is_control() => out.extend_from_slice(format!("\\u{:04x}", u32::from(letter)).as_bytes()),
        letter => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Appends what is plain as it is, and has `odd` do it for the rest: it is given what begins with a byte that is not
/// plain, takes one at least, and gives back what comes behind.
fn each<'a>(mut bytes: &'a [u8], out: &mut Vec<u8>, odd: impl Fn(&'a [u8], &mut Vec<u8>) -> &'a [u8]) {
    loop {
        let (plain, rest) = bytes.split_at(plain(bytes));
        out.extend_from_slice(plain);
        if rest.is_empty() {
            return;
        }
        bytes = odd(rest, out);
    }
}

/// How many bytes at the begin are plain; in pieces that the compiler looks at as one.
fn plain(bytes: &[u8]) -> usize {
    let whole = |piece: &&[u8; 16]| piece.iter().fold(true, |plain, byte| plain & is_plain(*byte));
    let (pieces, _) = bytes.as_chunks::<16>();
    let begin = pieces.iter().take_while(whole).count() * 16;
    let rest = bytes.get(begin..).unwrap_or_default();
    begin + rest.iter().position(|byte| !is_plain(*byte)).unwrap_or(rest.len())
}

fn is_plain(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texted(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        text(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn jsoned(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        json(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_could_break_a_line_is_seen_instead() {
        assert_eq!(texted(b"a\"b\\c\r\nd\x1b[1m\x7f\xc3\xa9"), r"a\x22b\x5Cc\x0D\x0Ad\x1B[1m\x7F\xC3\xA9");
        assert_eq!(texted(b"/0123456789abcdef0123456789abcde\"f"), r"/0123456789abcdef0123456789abcde\x22f");
    }

    #[test]
    fn in_json_letters_are_letters_and_other_bytes_replaced() {
        assert_eq!(jsoned("a\"\\\n\u{7f}é\u{85}".as_bytes()), r#"a\"\\\u000a\u007fé\u0085"#);
        assert_eq!(jsoned(b"a\xff\xc3b"), "a\u{fffd}\u{fffd}b");
    }

    proptest! {
        #[test]
        fn text_is_printable_ascii_from_which_the_bytes_can_be_had(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let escaped = texted(&bytes);
            prop_assert!(escaped.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'"'));
            let (mut again, mut rest) = (Vec::new(), escaped.as_str());
            while let Some(letter) = rest.chars().next() {
                let length = if letter == '\\' { 4 } else { 1 };
                let (one, behind) = rest.split_at(length);
                again.push(one.strip_prefix("\\x").map_or(letter as u8, |hex| u8::from_str_radix(hex, 16).unwrap()));
                rest = behind;
            }
            prop_assert_eq!(again, bytes);
        }

        #[test]
        fn json_strings_say_what_the_bytes_say(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let escaped = jsoned(&bytes);
            prop_assert!(!escaped.chars().any(char::is_control));
            let read: String = serde_json::from_str(&format!("\"{escaped}\"")).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&bytes));
        }
    }
}
