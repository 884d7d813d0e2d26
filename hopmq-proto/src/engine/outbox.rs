use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use bytes::{Buf, Bytes, BytesMut};

/// The tail is sealed into a chunk of its own at about this size, so that an urgent frame never waits behind more.
const SEAL_AT: usize = 64 * 1024;
/// The tail behind a sealed one has room for at least this much.
const TAIL_MIN: usize = 1024;

/// The bytes an engine wants written, in order, as a list of chunks.
///
/// Frames and small bodies are copied into one growing tail, so that many messages leave in one write; a large body
/// is linked as it is and never copied. The owner peeks ([`chunks`](Outbox::chunks)), writes, and
/// [`consume`](Outbox::consume)s what was written, with no await in between.
///
/// An engine marks where a frame ends with [`end_frame`](Outbox::end_frame). At such a boundary, and only there, an
/// [`urgent`](Outbox::push_urgent) frame (a heartbeat, a close) may overtake what was queued before it.
///
/// ```
/// use bytes::Bytes;
/// use hopmq_proto::Outbox;
///
/// let mut outbox = Outbox::new();
/// outbox.tail().extend_from_slice(b"hello ");
/// outbox.link(Bytes::from_static(b"world"));
/// outbox.end_frame();
/// assert_eq!(outbox.chunks().collect::<Vec<_>>(), [b"hello ".as_slice(), b"world"]);
/// outbox.consume(8);
/// assert_eq!(outbox.len(), 3);
/// ```
pub struct Outbox {
    sealed: VecDeque<Chunk>,
    tail: BytesMut,
    /// Bytes in `sealed`.
    sealed_len: usize,
    /// The first byte of the queue starts a frame.
    at_boundary: bool,
    /// The last byte of the tail ends a frame (or the tail is empty and the last chunk does).
    tail_at_boundary: bool,
    /// What waited and was dropped.
    dropped: Vec<Bytes>,
}

struct Chunk {
    bytes: Bytes,
    ends_frame: bool,
    urgent: bool,
}

impl Outbox {
    /// An empty outbox.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sealed: VecDeque::new(),
            tail: BytesMut::new(),
            sealed_len: 0,
            at_boundary: true,
            tail_at_boundary: true,
            dropped: Vec::new(),
        }
    }

    /// How many bytes wait to be written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sealed_len + self.tail.len()
    }

    /// Whether nothing waits to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The buffer that small frames are appended to. Call [`end_frame`](Outbox::end_frame) when a frame is whole.
    pub fn tail(&mut self) -> &mut BytesMut {
        self.tail_at_boundary = false;
        &mut self.tail
    }

    /// Marks the end of a frame: here an urgent frame may come between, once the tail has been sealed.
    pub fn end_frame(&mut self) {
        self.tail_at_boundary = true;
        if self.tail.is_empty() {
            match self.sealed.back_mut() {
                Some(last) => last.ends_frame = true,
                None => self.at_boundary = true, // the frame has been consumed before it was whole
            }
        } else if self.tail.len() >= SEAL_AT {
            self.seal();
        }
    }

    /// Appends `bytes` without copying them.
    pub fn link(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.seal();
        self.tail_at_boundary = false;
        self.sealed_len += bytes.len();
        self.sealed.push_back(Chunk { bytes, ends_frame: false, urgent: false });
    }

    /// Queues a whole frame ahead of everything that may be overtaken: at the first frame boundary, behind the urgent
    /// frames that are there already. Not to be called in the middle of a frame.
    pub fn push_urgent(&mut self, frame: Bytes) {
        debug_assert!(self.tail_at_boundary, "an urgent frame in the middle of a frame");
        if frame.is_empty() {
            return;
        }
        self.seal();
        let mut at = if self.at_boundary {
            0
        } else {
            self.sealed.iter().position(|chunk| chunk.ends_frame).map_or(self.sealed.len(), |at| at + 1)
        };
        while self.sealed.get(at).is_some_and(|chunk| chunk.urgent) {
            at += 1;
        }
        self.sealed_len += frame.len();
        self.sealed.insert(at, Chunk { bytes: frame, ends_frame: true, urgent: true });
    }

    /// Whether an urgent frame waits to be written.
    #[must_use]
    pub fn has_urgent(&self) -> bool {
        self.sealed.iter().any(|chunk| chunk.urgent)
    }

    /// Queues a whole frame as the last one: what waits is dropped, except for a frame that is partly written and what
    /// shares a chunk with it. Not to be called in the middle of a frame.
    pub fn finish_with(&mut self, frame: Bytes) {
        debug_assert!(self.tail_at_boundary, "a last frame in the middle of a frame");
        self.seal();
        let kept = if self.at_boundary {
            0
        } else {
            self.sealed.iter().position(|chunk| chunk.ends_frame).map_or(self.sealed.len(), |at| at + 1)
        };
        self.dropped.extend(self.sealed.drain(kept..).map(|chunk| chunk.bytes));
        self.sealed_len = self.sealed.iter().map(|chunk| chunk.bytes.len()).sum();
        self.link(frame);
        self.end_frame();
    }

    /// The chunks to write, oldest first.
    #[must_use]
    pub fn chunks(&self) -> Chunks<'_> {
        Chunks { sealed: self.sealed.iter(), tail: Some(&self.tail) }
    }

    /// Drops the first `n` bytes, which have been written. More than [`len`](Outbox::len) drops everything.
    pub fn consume(&mut self, mut n: usize) {
        while n > 0 {
            let Some(chunk) = self.sealed.front_mut() else {
                self.tail.advance(n.min(self.tail.len()));
                if self.tail.is_empty() {
                    let _ = self.tail.try_reclaim(SEAL_AT); // what has been written makes room, without a copy
                }
                self.at_boundary = self.tail.is_empty() && self.tail_at_boundary;
                return;
            };
            if n < chunk.bytes.len() {
                chunk.bytes.advance(n);
                self.sealed_len -= n;
                self.at_boundary = false;
                return;
            }
            n -= chunk.bytes.len();
            self.sealed_len -= chunk.bytes.len();
            self.at_boundary = chunk.ends_frame;
            self.sealed.pop_front();
        }
    }

    /// Moves chunks from here to the end of `to` until `to` holds at least `limit` bytes or nothing is left.
    ///
    /// A driver does this under the engine's lock, and writes from `to` without it. What was moved can no longer be
    /// overtaken, which is why there is a limit.
    pub fn move_to(&mut self, to: &mut Outbox, limit: usize) {
        if self.sealed.is_empty() && to.is_empty() && self.tail_at_boundary {
            core::mem::swap(&mut self.tail, &mut to.tail);
            to.tail_at_boundary = true;
            self.at_boundary = true;
            return;
        }
        self.seal();
        to.seal();
        while to.len() < limit {
            let Some(chunk) = self.sealed.pop_front() else { break };
            self.sealed_len -= chunk.bytes.len();
            self.at_boundary = chunk.ends_frame;
            to.tail_at_boundary = chunk.ends_frame;
            to.sealed_len += chunk.bytes.len();
            to.sealed.push_back(chunk);
        }
    }

    /// Drops everything that waits, as far as the outbox is concerned: see [`take_dropped`](Outbox::take_dropped).
    pub fn clear(&mut self) {
        let Self { sealed, mut dropped, .. } = core::mem::take(self);
        dropped.extend(sealed.into_iter().map(|chunk| chunk.bytes));
        self.dropped = dropped;
    }

    /// What has been dropped without being written, for an owner with a lock to let go without it: bytes that were
    /// [linked](Outbox::link) may be owned by somebody's code, which runs then. Otherwise it goes with the outbox.
    #[must_use]
    pub fn take_dropped(&mut self) -> Vec<Bytes> {
        core::mem::take(&mut self.dropped)
    }

    /// Counts `bytes` among what [`take_dropped`](Outbox::take_dropped) gives: an engine that has kept them for longer
    /// than until they were written lets go of them here.
    pub fn drop_later(&mut self, bytes: Bytes) {
        self.dropped.push(bytes);
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            let bytes = self.tail.split().freeze();
            if self.tail.capacity() < bytes.len() {
                // As much is likely to follow: one allocation, and no copying while the tail grows.
                self.tail = BytesMut::with_capacity(TAIL_MIN.max(bytes.len() + bytes.len() / 8));
            }
            self.sealed_len += bytes.len();
            self.sealed.push_back(Chunk { bytes, ends_frame: self.tail_at_boundary, urgent: false });
        }
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

/// Shows sizes only: the bytes may hold a password.
impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("len", &self.len())
            .field("chunks", &self.chunks().count())
            .finish_non_exhaustive()
    }
}

/// The chunks of an [`Outbox`], oldest first. None is empty.
#[derive(Clone)]
pub struct Chunks<'a> {
    sealed: alloc::collections::vec_deque::Iter<'a, Chunk>,
    tail: Option<&'a BytesMut>,
}

impl fmt::Debug for Chunks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone().map(<[u8]>::len)).finish()
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if let Some(chunk) = self.sealed.next() {
            return Some(&chunk.bytes);
        }
        self.tail.take().map(|tail| &tail[..]).filter(|tail| !tail.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(outbox: &mut Outbox, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while !outbox.is_empty() {
            let next: Vec<u8> = outbox.chunks().flatten().copied().take(step).collect();
            outbox.consume(next.len());
            all.extend(next);
        }
        all
    }

    fn frame(outbox: &mut Outbox, bytes: &[u8]) {
        outbox.tail().extend_from_slice(bytes);
        outbox.end_frame();
    }

    #[test]
    fn urgent_overtakes_at_a_frame_boundary_only() {
        for written in 0..8 {
            let mut outbox = Outbox::new();
            outbox.tail().extend_from_slice(b"ab");
            outbox.link(Bytes::from_static(b"cd"));
            outbox.tail().extend_from_slice(b"e");
            outbox.end_frame();
            outbox.link(Bytes::from_static(b"fg"));
            outbox.end_frame();
            outbox.consume(written);
            outbox.push_urgent(Bytes::from_static(b"!!"));
            let want = match written {
                0 => "!!abcdefg",
                n @ 1..=4 => &"abcde!!fg"[n..],
                5 => "!!fg",
                6 => "g!!",
                _ => "!!",
            };
            assert_eq!(drain(&mut outbox, 3), want.as_bytes(), "after {written}");
        }
    }

    #[test]
    fn urgent_waits_for_a_frame_that_is_half_in_the_tail() {
        let mut outbox = Outbox::new();
        frame(&mut outbox, b"ab");
        outbox.consume(1);
        assert!(!outbox.has_urgent());
        outbox.push_urgent(Bytes::from_static(b"!"));
        assert!(outbox.has_urgent());
        assert_eq!(drain(&mut outbox, 9), b"b!");
    }

    #[test]
    fn moving_keeps_order_and_boundaries() {
        let mut outbox = Outbox::new();
        let mut wire = Outbox::new();
        frame(&mut outbox, b"one");
        outbox.move_to(&mut wire, 1024);
        assert!(outbox.is_empty());
        wire.consume(1);
        frame(&mut outbox, b"two");
        outbox.move_to(&mut wire, 3);
        frame(&mut outbox, b"three");
        outbox.push_urgent(Bytes::from_static(b"!"));
        outbox.move_to(&mut wire, 1024);
        assert_eq!(drain(&mut wire, 2), b"netwo!three");
    }

    #[test]
    fn the_last_frame_drops_all_but_the_frame_under_way() {
        for written in 0..8 {
            let mut outbox = Outbox::new();
            outbox.link(Bytes::from_static(b"ab"));
            outbox.link(Bytes::from_static(b"cd"));
            outbox.end_frame();
            outbox.link(Bytes::from_static(b"efg"));
            outbox.end_frame();
            outbox.consume(written);
            outbox.finish_with(Bytes::from_static(b"!!"));
            let want = match written {
                n @ 1..=3 => &"abcd!!"[n..],
                n @ 5..=6 => &"abcdefg!!"[n..],
                _ => "!!",
            };
            assert_eq!(drain(&mut outbox, 3), want.as_bytes(), "after {written}");
        }
    }

    #[test]
    fn debug_shows_no_bytes() {
        let mut outbox = Outbox::new();
        frame(&mut outbox, b"secret");
        outbox.link(Bytes::from_static(b"secret"));
        let shown = std::format!("{outbox:?} {:?}", outbox.chunks());
        assert!(!shown.contains("secret") && shown.contains("12"), "{shown}");
    }

    #[test]
    fn the_length_is_the_sum_of_the_chunks() {
        let mut outbox = Outbox::new();
        for n in 1..200usize {
            frame(&mut outbox, &alloc::vec![7; n * 13]);
            outbox.link(Bytes::from(alloc::vec![8; n]));
            outbox.end_frame();
            outbox.consume(n * 11);
            assert_eq!(outbox.len(), outbox.chunks().map(<[u8]>::len).sum::<usize>());
        }
    }
}
