//! Lines of a head, written or copied.

use std::ops::Range;

use super::super::{edit::Edits, field::Field};

/// The fields of a head on their way into another one. Neighbours that go on as they are are copied together.
pub(super) struct Lines<'o, 'b, 'e> {
    out: &'o mut Vec<u8>,
    head: &'b [u8],
    run: Range<usize>,
    edits: Edits<'e>,
}

impl<'o, 'b, 'e> Lines<'o, 'b, 'e> {
    /// Room for the whole head and what is added to it is made at once.
    pub(super) fn new(out: &'o mut Vec<u8>, head: &'b [u8], edits: Edits<'e>) -> Self {
        out.reserve(head.len() + 512);
        Self { out, head, run: 0..0, edits }
    }

    /// This field of the head, unless an edit replaces it. Inlined, because it is done with every field.
    #[inline(always)]
    pub(super) fn keep(&mut self, field: &Field<'b>) {
        if self.edits.replace(field.name) {
            return;
        }
        match field.plain_line(self.head) {
            Some(line) if line.start == self.run.end => self.run.end = line.end,
            Some(line) => {
                self.flush();
                self.run = line;
            }
            None => self.spell(field),
        }
    }

    /// Anew, in the usual way.
    #[cold]
    fn spell(&mut self, field: &Field<'b>) {
        put(self.raw(), field.name, &[field.value]);
    }

    /// Any bytes; the lines before them come first.
    pub(super) fn raw(&mut self) -> &mut Vec<u8> {
        self.flush();
        self.out
    }

    /// A field of ours, from parts. Inlined, because a name that is known then is written in a few words.
    #[inline(always)]
    pub(super) fn ours(&mut self, name: &str, value: &[&[u8]]) {
        put(self.raw(), name, value);
    }

    /// A field of ours with the members of a list; there is one at least.
    pub(super) fn list<'m>(&mut self, name: &str, members: impl Iterator<Item = &'m [u8]>) {
        let out = self.raw();
        out.extend_from_slice(name.as_bytes());
        for (at, member) in members.enumerate() {
            out.extend_from_slice(if at == 0 { b": " } else { b", " });
            out.extend_from_slice(member);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Whether an edit has the last word on this field.
    pub(super) fn is_edited(&self, name: &str) -> bool {
        self.edits.replace(name)
    }

    /// What the edits add.
    pub(super) fn edit(&mut self) {
        self.flush();
        for edit in self.edits.added() {
            put(self.out, edit.name(), &[edit.value().as_bytes()]);
        }
    }

    #[inline]
    fn flush(&mut self) {
        if self.run.end > self.run.start {
            self.copy_run();
        }
    }

    #[inline(never)]
    fn copy_run(&mut self) {
        let run = std::mem::replace(&mut self.run, 0..0);
        self.out.extend_from_slice(self.head.get(run).unwrap_or_default());
    }
}

#[inline(always)]
fn put(out: &mut Vec<u8>, name: &str, value: &[&[u8]]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    value.iter().for_each(|part| out.extend_from_slice(part));
    out.extend_from_slice(b"\r\n");
}

/// A number in decimal, in `room`.
pub(super) fn decimal(mut number: u64, room: &mut [u8; 20]) -> &[u8] {
    let mut begin = room.len();
    for (at, place) in room.iter_mut().enumerate().rev() {
        // Always below ten.
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        begin = at;
        if number == 0 {
            break;
        }
    }
    room.get(begin..).unwrap_or_default()
}
