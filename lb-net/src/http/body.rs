//! Moves one body from one side of an exchange to the other: by length, chunked, or until the connection ends.

use std::{
    io::{self, IoSlice},
    ops::Range,
    task::{Context, Poll, ready},
};

use super::{
    Reason,
    buffer::{Buffer, Lead},
    message::chunked::{ChunkReader, chunk_head},
    splice::{Filled, LEAST_BYTES, Splice},
    wire::Wire,
};
use crate::relay::yield_to_others;

/// What one body may move before other connections of its thread get their turn.
const QUOTA: u64 = 1024 * 1024;

/// Full reads in a row after which a body of unknown length is spliced.
const STREAK: u8 = 2;

/// How the source says where its body ends.
#[derive(Debug)]
pub(super) enum Source {
    /// After so many bytes more.
    Length(u64),
    /// By itself.
    Chunked(ChunkReader),
    /// With its connection.
    UntilClose,
}

/// One body under way.
#[derive(Debug)]
pub(super) struct Body {
    source: Source,
    /// Whether the sink gets it in chunks.
    in_chunks: bool,
    /// How many bytes there may be, where the length does not say it before.
    limit: Option<u64>,
    /// What is to be sent next of the bytes at hand.
    piece: Option<Piece>,
    splice: Splice,
    streak: u8,
    /// Behind a chunked one: as lines, whole when it has ended.
    trailers: Vec<u8>,
    passes_trailers: bool,
    /// The last piece has been made.
    ended: bool,
    /// Some of it is not in the lead, and so cannot be sent once more.
    gone: bool,
    /// Bytes of the body that the sink has taken, or the lead.
    pub(super) moved: u64,
}

/// A part of the bytes at hand, and what is put around it.
#[derive(Debug)]
struct Piece {
    /// The line in front of its chunk, and how long that is.
    size: ([u8; 18], usize),
    data: Range<usize>,
    tail: Tail,
    /// How many of the bytes at hand it stands for.
    stands_for: usize,
    sent: usize,
}

/// What comes behind the data of a piece.
#[derive(Debug)]
enum Tail {
    Nothing,
    ChunkEnd,
    /// The last chunk, behind the end of one that has data.
    Last {
        behind_data: bool,
    },
}

/// Why a body came to no end.
#[derive(Debug)]
pub(super) enum Fault {
    /// The source's connection failed, or ended too early.
    Source,
    /// The sink's connection failed.
    Sink,
    /// The source breaks the rules, or ours.
    Bad(Reason),
}

impl Body {
    pub(super) fn new(source: Source, in_chunks: bool) -> Self {
        let ended = matches!(source, Source::Length(0));
        Self {
            source,
            in_chunks,
            limit: None,
            piece: None,
            splice: Splice::default(),
            streak: 0,
            trailers: Vec::new(),
            passes_trailers: false,
            ended,
            gone: false,
            moved: 0,
        }
    }

    /// No body at all.
    pub(super) fn none() -> Self {
        Self::new(Source::Length(0), false)
    }

    /// With so many bytes at most.
    pub(super) fn with_limit(self, limit: Option<u64>) -> Self {
        Self { limit, ..self }
    }

    /// With the trailers behind it, if there are any.
    pub(super) fn with_trailers(self, passes_trailers: bool) -> Self {
        Self { passes_trailers, ..self }
    }

    /// Whether the source has said all of it, and the sink has been sent all but the lead.
    pub(super) fn is_done(&self) -> bool {
        self.ended && self.piece.is_none() && !self.splice.is_filled()
    }

    /// Whether the source has said all of it. Some of that may still be at hand.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Nothing more of it is sent. Whether what is at hand from now on comes behind it: if the source has said all of it.
    pub(super) fn drop_rest(&mut self, input: &mut Buffer) -> bool {
        if let Some(piece) = self.piece.take() {
            input.consume(piece.stands_for);
        }
        self.ended
    }

    /// Whether it is the sink that is waited for, and not the source.
    pub(super) fn waits_for_sink(&self) -> bool {
        self.piece.is_some() || self.splice.is_filled()
    }

    /// Whether the kernel has moved some of it, or would have if it had not come so soon.
    pub(super) fn was_in_bulk(&self) -> bool {
        self.moved >= LEAST_BYTES && !self.in_chunks && !matches!(self.source, Source::Chunked(_))
    }

    /// Whether all that has been taken from the source is in the lead.
    pub(super) fn is_in_lead(&self) -> bool {
        !self.gone
    }

    /// Appends what is at hand to the lead, as long as that stays within `most` bytes.
    #[inline]
    pub(super) fn gather(&mut self, input: &mut Buffer, lead: &mut Lead, most: usize) -> Result<(), Fault> {
        while !self.gone && self.next_piece(input)? && self.append_piece(input, lead, most) {}
        Ok(())
    }

    /// Appends the piece to the lead; whether it has room there.
    fn append_piece(&mut self, input: &mut Buffer, lead: &mut Lead, most: usize) -> bool {
        let piece = self.piece.take_if(|piece| lead.len() + piece.len(&self.trailers) <= most);
        let Some(piece) = piece else { return false };
        let slices = piece.slices(input.filled(), &self.trailers);
        slices
            .into_iter()
            .filter(|slice| !slice.is_empty())
            .for_each(|slice| lead.bytes_mut().extend_from_slice(slice));
        self.moved += piece.data.len() as u64;
        input.consume(piece.stands_for);
        true
    }

    /// Moves what can be moved: the lead first, and in one write with what is at hand behind it. Up to `most` bytes are
    /// kept in the lead. Ready when all of it has been sent.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        (from, input): (&mut impl Wire, &mut Buffer),
        (to, lead): (&mut impl Wire, &mut Lead),
        most: usize,
    ) -> Poll<Result<(), Fault>> {
        let enough = self.moved + QUOTA;
        loop {
            self.gather(input, lead, most)?;
            if self.splice.is_filled() {
                self.moved += ready!(self.splice.poll_empty(cx, to)).map_err(|_| Fault::Sink)?;
            } else if self.next_piece(input)? || !lead.rest().is_empty() {
                ready!(self.poll_send(cx, input, to, lead)).map_err(|_| Fault::Sink)?;
            } else if self.ended {
                return Poll::Ready(Ok(()));
            } else if self.moved >= enough {
                yield_to_others(cx);
                return Poll::Pending;
            } else if let Some(bytes) = self.bytes_to_splice(input) {
                self.gone = true;
                ready!(self.poll_splice(cx, from, bytes))?;
            } else {
                ready!(self.poll_receive(cx, from, input))?;
            }
        }
    }

    /// Makes a piece of what is at hand, if there is none yet; whether there is one now.
    #[inline]
    fn next_piece(&mut self, input: &mut Buffer) -> Result<bool, Fault> {
        // Most often nothing is at hand, or no more of this body.
        if self.piece.is_none() && !self.ended && !input.is_empty() {
            self.make_piece(input)?;
        }
        Ok(self.piece.is_some())
    }

    fn make_piece(&mut self, input: &mut Buffer) -> Result<(), Fault> {
        while self.piece.is_none() && !self.ended && !input.is_empty() {
            let (data, stands_for, is_last) = match &mut self.source {
                Source::Length(left) => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                    *left -= count as u64;
                    (0..count, count, *left == 0)
                }
                Source::UntilClose => (0..input.len(), input.len(), false),
                Source::Chunked(reader) => {
                    let read = reader.read(input.filled_mut(), &mut self.trailers);
                    let read = read.map_err(|_| Fault::Bad(Reason::BadChunk))?;
                    if !self.passes_trailers {
                        self.trailers.clear();
                    }
                    (read.data, read.consumed, read.done)
                }
            };
            let sum = self.moved + data.len() as u64;
            if self.limit.is_some_and(|limit| sum > limit) {
                // It stays at hand: nobody knows any more where the next request begins.
                return Err(Fault::Bad(Reason::BodyTooLarge));
            }
            self.ended = is_last;
            self.offer(input, data, stands_for);
        }
        Ok(())
    }

    /// As a piece, unless there is nothing to send.
    fn offer(&mut self, input: &mut Buffer, data: Range<usize>, stands_for: usize) {
        let behind_data = !data.is_empty();
        let tail = match (self.in_chunks, self.ended) {
            (true, true) => Tail::Last { behind_data },
            _ if !behind_data => return input.consume(stands_for),
            (true, false) => Tail::ChunkEnd,
            (false, _) => Tail::Nothing,
        };
        let mut size = ([0; 18], 0);
        if self.in_chunks && behind_data {
            size.1 = chunk_head(data.len(), &mut size.0).len();
        }
        self.piece = Some(Piece { size, data, tail, stands_for, sent: 0 });
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Buffer,
        to: &mut impl Wire,
        lead: &mut Lead,
    ) -> Poll<io::Result<()>> {
        let mut slices = [IoSlice::new(&[]); 6];
        let of_piece = self.piece.as_ref().map(|piece| (piece.slices(input.filled(), &self.trailers), piece.sent));
        let mut count = 0;
        let mut add = |slice| {
            slices[count] = IoSlice::new(slice);
            count += 1;
        };
        if !lead.rest().is_empty() {
            add(lead.rest());
        }
        let (pieces, mut skip) = of_piece.unwrap_or_default();
        for slice in pieces {
            let skipped = skip.min(slice.len());
            skip -= skipped;
            if skipped < slice.len() {
                add(&slice[skipped..]);
            }
        }
        let written = ready!(to.poll_write(cx, &slices[..count]))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let of_piece = lead.sent(written);
        self.note_sent(of_piece, input);
        Poll::Ready(Ok(()))
    }

    fn note_sent(&mut self, count: usize, input: &mut Buffer) {
        let Some(piece) = &mut self.piece else { return };
        self.gone |= count > 0;
        let before = piece.data_sent();
        piece.sent += count;
        self.moved += (piece.data_sent() - before) as u64;
        if piece.sent >= piece.len(&self.trailers) {
            input.consume(piece.stands_for);
            self.piece = None;
        }
    }

    /// How many bytes may be spliced, if that is worth it now.
    fn bytes_to_splice(&self, input: &Buffer) -> Option<u64> {
        if self.in_chunks || !self.splice.is_on() || !input.is_empty() {
            return None;
        }
        match self.source {
            Source::Length(left) => Some(left).filter(|left| *left >= LEAST_BYTES),
            Source::UntilClose => (self.streak >= STREAK).then_some(u64::MAX),
            Source::Chunked(_) => None,
        }
    }

    fn poll_splice(&mut self, cx: &mut Context<'_>, from: &mut impl Wire, most: u64) -> Poll<Result<(), Fault>> {
        match ready!(self.splice.poll_fill(cx, from, most)).map_err(|_| Fault::Source)? {
            Filled::Bytes(count) => {
                if let Source::Length(left) = &mut self.source {
                    *left -= count.min(*left);
                    self.ended = *left == 0;
                }
            }
            Filled::End => self.source_ended()?,
            Filled::Off => {}
        }
        Poll::Ready(Ok(()))
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl Wire,
        input: &mut Buffer,
    ) -> Poll<Result<(), Fault>> {
        let room = input.room();
        let (size, most) = (
            room.len(),
            match self.source {
                // What comes behind it is not ours to read yet.
                Source::Length(left) => usize::try_from(left).unwrap_or(usize::MAX).min(room.len()),
                _ => room.len(),
            },
        );
        let polled = from.poll_read(cx, &mut room[..most]);
        let Poll::Ready(read) = polled else {
            input.release_empty();
            return Poll::Pending;
        };
        match read.map_err(|_| Fault::Source)? {
            0 => self.source_ended()?,
            count => {
                input.fill(count);
                self.streak = if count == size { self.streak.saturating_add(1) } else { 0 };
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The source's connection has ended: that is the end of the body, or a cut.
    fn source_ended(&mut self) -> Result<(), Fault> {
        if !matches!(self.source, Source::UntilClose) {
            return Err(Fault::Source);
        }
        self.ended = true;
        if self.in_chunks {
            let tail = Tail::Last { behind_data: false };
            self.piece = Some(Piece { size: ([0; 18], 0), data: 0..0, tail, stands_for: 0, sent: 0 });
        }
        Ok(())
    }
}

impl Piece {
    /// All that is to be sent of it, in order.
    fn slices<'a>(&'a self, bytes: &'a [u8], trailers: &'a [u8]) -> [&'a [u8]; 5] {
        let data = bytes.get(self.data.clone()).unwrap_or_default();
        let tail: [&[u8]; 3] = match &self.tail {
            Tail::Nothing => [b"", b"", b""],
            Tail::ChunkEnd => [b"\r\n", b"", b""],
            Tail::Last { behind_data: false } => [b"0\r\n", trailers, b"\r\n"],
            Tail::Last { behind_data: true } => [b"\r\n0\r\n", trailers, b"\r\n"],
        };
        [self.size_line(), data, tail[0], tail[1], tail[2]]
    }

    fn len(&self, trailers: &[u8]) -> usize {
        let tail = match &self.tail {
            Tail::Nothing => 0,
            Tail::ChunkEnd => 2,
            Tail::Last { behind_data } => trailers.len() + if *behind_data { 7 } else { 5 },
        };
        self.size.1 + self.data.len() + tail
    }

    fn size_line(&self) -> &[u8] {
        self.size.0.get(..self.size.1).unwrap_or_default()
    }

    fn data_sent(&self) -> usize {
        self.sent.saturating_sub(self.size.1).min(self.data.len())
    }
}
