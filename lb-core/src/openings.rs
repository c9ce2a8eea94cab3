//! Which slots have room, as a bitmap, so that a first fit costs a word for 64 slots.
//!
//! The bitmap is a hint. A set bit may be wrong for a moment: whoever follows it asks the door. A clear bit is made
//! right by whoever closes the door: clear, look again, set again if the door has opened meanwhile.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{AcqRel, Acquire, Release, SeqCst},
            fence,
        },
    },
};

use arc_swap::ArcSwap;

/// The bits of one snapshot.
#[derive(Debug, Default)]
pub(crate) struct Openings {
    generation: u32,
    words: Box<[AtomicU64]>,
}

impl Openings {
    pub(crate) fn new(generation: u32, slots: usize) -> Self {
        Self { generation, words: (0..slots.div_ceil(64)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// The first set bit of these slots for which `fits` holds.
    pub(crate) fn first(&self, slots: Range<usize>, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let mut at = slots.start;
        while at < slots.end {
            let word = self.words.get(at / 64)?.load(Acquire) >> (at % 64);
            if word == 0 {
                at = (at / 64 + 1) * 64;
                continue;
            }
            at += word.trailing_zeros() as usize;
            if at < slots.end && fits(at) {
                return Some(at);
            }
            at += 1;
        }
        None
    }

    pub(crate) fn is_set(&self, slot: usize) -> bool {
        self.words.get(slot / 64).is_some_and(|word| word.load(Acquire) >> (slot % 64) & 1 != 0)
    }

    pub(crate) fn any(&self) -> bool {
        self.words.iter().any(|word| word.load(Acquire) != 0)
    }

    /// Makes the bit of a slot agree with its door. Returns whether it was clear and is set now.
    pub(crate) fn refresh(&self, slot: usize, is_open: impl Fn() -> bool) -> bool {
        let (Some(word), bit) = (self.words.get(slot / 64), 1 << (slot % 64)) else { return false };
        if !is_open() {
            word.fetch_and(!bit, AcqRel);
        }
        is_open() && word.fetch_or(bit, AcqRel) & bit == 0
    }
}

/// Where the bits in force are found: shared by all members, replaced with each snapshot.
#[derive(Debug, Default)]
pub(crate) struct CurrentOpenings(ArcSwap<Openings>);

/// A member's slot and the generation of bits that it counts in.
#[derive(Debug, Default)]
pub(crate) struct SlotMark(AtomicU64);

impl SlotMark {
    pub(crate) fn set(&self, openings: &Openings, slot: usize) {
        self.0.store(u64::from(openings.generation) << 32 | slot as u64, Release);
    }
}

impl CurrentOpenings {
    pub(crate) fn publish(&self, openings: Arc<Openings>) {
        self.0.store(openings);
    }

    /// Refreshes a member's bit, unless a snapshot is being published: then the publisher does it afterwards.
    pub(crate) fn refresh(&self, mark: &SlotMark, is_open: impl Fn() -> bool) {
        // One has changed the door and looks at the mark, the publisher has set the mark and looks at the door: of two
        // fences one is the later, and who passes it sees what the other has done.
        fence(SeqCst);
        let (openings, mark) = (self.0.load(), mark.0.load(Acquire));
        if (mark >> 32) as u32 == openings.generation {
            openings.refresh(mark as u32 as usize, is_open);
        }
    }
}
