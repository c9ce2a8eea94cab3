//! Memory for bytes under way: it belongs to work, not to connections, and goes back to its thread when that is done.

use std::cell::RefCell;

/// What one read may bring: the heads of nearly all messages and the whole of most. What is much larger is spliced.
pub(super) const BUFFER_BYTES: usize = 32 * 1024;

/// Buffers that a thread keeps for the next requests.
const KEPT: usize = 64;

/// Heads, of which there is one for each request under way.
const KEPT_HEADS: usize = 1024;

/// What nearly every head has room in, so that it does not matter whose memory it gets.
const USUAL_HEAD: usize = 1024;

/// A head that has grown larger than this goes back to the allocator.
const LARGEST_KEPT: usize = 64 * 1024;

thread_local! {
    static BUFFERS: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    static HEADS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that were read and not used yet, and room behind them. It has no memory before [`room`](Self::room) is asked for,
/// and none once it is [released](Self::release).
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// The bytes that are there.
    pub(super) fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn filled_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether there is no room behind them, however they are moved. Without memory there is room: it is taken then.
    pub(super) fn is_full(&self) -> bool {
        self.start == 0 && self.end == self.bytes.len() && self.end > 0
    }

    /// The first of them have been used.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Room for more, taken from this thread's pool if need be: none only where `BUFFER_BYTES` are there already.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            let pooled = BUFFERS.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
            self.bytes = pooled.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice());
        }
        if self.end == self.bytes.len() && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.len());
        }
        &mut self.bytes[self.end..]
    }

    /// So many bytes of the room have been filled.
    pub(super) fn fill(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// Twice the memory, up to `most` bytes; whether there is more now.
    pub(super) fn grow(&mut self, most: usize) -> bool {
        let size = (self.bytes.len() * 2).min(most);
        if size <= self.bytes.len() {
            return false;
        }
        let mut larger = vec![0; size].into_boxed_slice();
        let length = self.len();
        larger[..length].copy_from_slice(self.filled());
        give_back(std::mem::replace(&mut self.bytes, larger));
        (self.start, self.end) = (0, length);
        true
    }

    /// Gives the memory back if there is nothing in it.
    pub(super) fn release_empty(&mut self) {
        if self.is_empty() {
            self.release();
        }
    }

    /// Gives the memory back with everything in it.
    pub(super) fn release(&mut self) {
        (self.start, self.end) = (0, 0);
        if !self.bytes.is_empty() {
            give_back(std::mem::take(&mut self.bytes));
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.release();
    }
}

fn give_back(bytes: Box<[u8]>) {
    if bytes.len() == BUFFER_BYTES {
        keep(&BUFFERS, KEPT, bytes);
    }
}

/// Should the thread be ending, the pool is gone and the memory goes too.
fn keep<T>(pool: &'static std::thread::LocalKey<RefCell<Vec<T>>>, most: usize, memory: T) {
    let _ = pool.try_with(move |pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < most {
            pool.push(memory);
        }
    });
}

/// What is written to a socket before anything else: a head, and what of its body was at hand. It stays whole until it is
/// cleared, so that it can be sent once more.
#[derive(Debug, Default)]
pub(super) struct Lead {
    bytes: Vec<u8>,
    sent: usize,
}

impl Lead {
    /// An empty one, with the memory of one before.
    pub(super) fn pooled() -> Self {
        let pooled = HEADS.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
        Self { bytes: pooled.unwrap_or_else(|| Vec::with_capacity(USUAL_HEAD)), sent: 0 }
    }

    /// To append to.
    pub(super) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What is still to be sent.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// So many bytes of the rest have been sent. Returns how many of `count` were none of it.
    pub(super) fn sent(&mut self, count: usize) -> usize {
        let of_it = count.min(self.bytes.len() - self.sent);
        self.sent += of_it;
        count - of_it
    }

    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent as u64
    }

    /// To be sent from its begin once more.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// Forgets it all.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if (1..=LARGEST_KEPT).contains(&self.bytes.capacity()) {
            self.bytes.clear();
            keep(&HEADS, KEPT_HEADS, std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_whatever_the_pieces() {
        let (mut buffer, mut out, mut next) = (Buffer::default(), Vec::new(), 0_u8);
        for step in 0..1000_usize {
            let count = (step * 7919 % 5000).min(buffer.room().len());
            buffer.room()[..count].iter_mut().for_each(|byte| {
                *byte = next;
                next = next.wrapping_add(1);
            });
            buffer.fill(count);
            let used = (step * 104_729 % 6000).min(buffer.len());
            out.extend_from_slice(&buffer.filled()[..used]);
            buffer.consume(used);
        }
        out.extend_from_slice(buffer.filled());
        assert!(out.iter().enumerate().all(|(at, byte)| *byte == at as u8) && out.len() > BUFFER_BYTES);
    }

    #[test]
    fn memory_goes_back_to_the_thread_and_growth_keeps_what_is_there() {
        let mut buffer = Buffer::default();
        assert_eq!(buffer.room().len(), BUFFER_BYTES);
        buffer.fill(BUFFER_BYTES);
        buffer.filled_mut()[BUFFER_BYTES - 1] = 7;
        assert!(buffer.grow(BUFFER_BYTES + 10) && !buffer.grow(BUFFER_BYTES + 10));
        assert_eq!((buffer.room().len(), buffer.filled()[BUFFER_BYTES - 1]), (10, 7));
        drop(buffer);
        assert_eq!(BUFFERS.with_borrow(Vec::len), 1, "the usual one, not the larger");
        let mut lead = Lead::pooled();
        lead.bytes_mut().extend_from_slice(b"GET /");
        assert_eq!(lead.sent(3), 0);
        assert_eq!(lead.rest(), b" /");
        assert_eq!(lead.sent(9), 7);
        lead.rewind();
        assert_eq!(lead.rest(), b"GET /");
        drop(lead);
        assert!(Lead::pooled().rest().is_empty());
    }
}
