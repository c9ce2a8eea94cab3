//! Cookies of a request (RFC 6265 section 4.2).

/// The values of all cookies of this name, in order, as they were sent; `fields` are the values of all `Cookie` fields.
/// Names are case-sensitive.
pub(crate) fn named<'a>(fields: impl Iterator<Item = &'a [u8]>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let value = move |pair: &'a [u8]| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (found, value) = pair.split_at_checked(at)?;
        let value = value.strip_prefix(b"=")?.trim_ascii();
        (found.trim_ascii() == name.as_bytes()).then_some(value)
    };
    fields.flat_map(|field| field.split(|byte| *byte == b';')).filter_map(value)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn of<'a>(fields: &[&'a str], name: &str) -> Vec<&'a str> {
        let fields = fields.iter().map(|field| field.as_bytes());
        named(fields, name).map(|value| std::str::from_utf8(value).unwrap()).collect()
    }

    #[test]
    fn one_of_several_is_found_by_its_whole_name() {
        assert_eq!(of(&["a=1; ab=2; b=3"], "b"), ["3"]);
        assert_eq!(of(&["a=1;b=2;\tb = 3 "], "b"), ["2", "3"], "blanks, and one that comes twice");
        assert_eq!(of(&["a=1", "b=2"], "b"), ["2"], "several fields");
        assert_eq!(of(&["a=b=c; d=\"e\""], "a"), ["b=c"]);
        assert_eq!(of(&["d=\"e\""], "d"), ["\"e\""], "quotes are part of it");
        assert_eq!(of(&["a="], "a"), [""]);
        assert!(of(&["A=1", "a", ";;=;", "", "=a"], "a").is_empty());
    }

    proptest! {
        #[test]
        fn what_was_written_is_found_among_any_bytes(
            before in vec(any::<u8>(), 0..40),
            value in "[!-:<-~]{0,20}",
            after in vec(any::<u8>(), 0..40),
        ) {
            let mut field = before;
            field.extend_from_slice(format!("; lb={value};").as_bytes());
            field.extend_from_slice(&after);
            prop_assert!(named([&*field].into_iter(), "lb").any(|found| found == value.as_bytes()));
        }
    }
}
