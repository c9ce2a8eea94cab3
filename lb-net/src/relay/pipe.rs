//! Pipes for splice(2): a few kept by each thread, a bounded number in the process.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::sys;

/// How much one pipe holds, where the kernel allows it: what a user without privileges may have (pipe-max-size).
/// Measured with 1 and 8 downloads: 256 KiB costs 1.2 and 1.7 times the CPU, for more and smaller turns.
pub(crate) const PIPE_BYTES: u32 = 1024 * 1024;

/// Pipes that a thread keeps for its next bulk transfer. Two descriptors each.
const KEPT: usize = 8;

/// Pipes in the whole process: few enough that sessions with slow clients do not eat the descriptors that accept needs.
/// Users without privileges may have 64 large pipes (pipe-user-pages-soft), and then smaller ones.
const MOST: usize = 256;

static ALIVE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static POOL: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// One pipe and how many bytes are in it.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) reader: OwnedFd,
    pub(crate) writer: OwnedFd,
    pub(crate) filled: u32,
    _place: Place,
}

/// One of the `MOST` places.
#[derive(Debug)]
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let place = Self;
        // A place that is one too many gives itself back when it is dropped here.
        (ALIVE.fetch_add(1, Relaxed) < MOST).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Relaxed);
    }
}

/// An empty pipe from this thread's pool, or a new one; `None` when there is none to be had.
pub(crate) fn take() -> Option<Pipe> {
    let pooled = POOL.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
    pooled.or_else(|| {
        let _place = Place::take()?;
        let (reader, writer) = sys::pipe(PIPE_BYTES as usize).ok()?;
        Some(Pipe { reader, writer, filled: 0, _place })
    })
}

/// Keeps an empty pipe for the next transfer on this thread.
pub(crate) fn give_back(pipe: Pipe) {
    debug_assert_eq!(pipe.filled, 0, "bytes of one session must never meet another");
    // Should the thread be ending, the pipe is closed with the closure that holds it.
    let _ = POOL.try_with(move |pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < KEPT {
            pool.push(pipe);
        }
    });
}

/// Pipes in this thread's pool.
#[cfg(test)]
pub(crate) fn pooled() -> usize {
    POOL.with(|pool| pool.borrow().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_that_was_given_back_is_used_again() {
        let pipe = take().unwrap();
        let reader = format!("{:?}", pipe.reader);
        give_back(pipe);
        assert_eq!(format!("{:?}", take().unwrap().reader), reader);
    }

    #[test]
    fn a_thread_keeps_few_pipes() {
        std::thread::spawn(|| {
            let many: Vec<_> = (0..KEPT + 3).map(|_| take().unwrap()).collect();
            many.into_iter().for_each(give_back);
            assert_eq!(pooled(), KEPT);
        })
        .join()
        .unwrap();
    }
}
