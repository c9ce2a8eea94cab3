//! One message as it was read.

/// How the end of a message's body was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

/// One message as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// All up to the empty line and with it.
    pub(crate) head: Vec<u8>,
    /// The first line, without its end.
    pub(crate) first: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) framing: Framing,
    /// Without the framing.
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Message {
    pub(crate) fn status(&self) -> u16 {
        let code = self.first.split(' ').nth(1).and_then(|code| code.parse().ok());
        code.unwrap_or_else(|| panic!("no status: {}", self.first))
    }

    pub(crate) fn method(&self) -> &str {
        self.first.split(' ').next().unwrap()
    }

    pub(crate) fn target(&self) -> &str {
        self.first.split(' ').nth(1).unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What all fields of this name say.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let same = self.fields.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }

    /// What the one field of this name says.
    pub(crate) fn field(&self, name: &str) -> &str {
        match self.all(name)[..] {
            [one] => one,
            _ => panic!("not one {name}: {}", super::show(&self.head)),
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// Whether a list of this name has this word.
    pub(crate) fn lists(&self, name: &str, word: &str) -> bool {
        let mut words = self.all(name).into_iter().flat_map(|value| value.split(','));
        words.any(|own| own.trim().eq_ignore_ascii_case(word))
    }

    /// Whether the connection ends with this answer.
    pub(crate) fn closes(&self) -> bool {
        self.lists("connection", "close")
            || (self.first.starts_with("HTTP/1.0") && !self.lists("connection", "keep-alive"))
    }
}
