use std::collections::VecDeque;
use std::io::IoSlice;
use std::task::Waker;

use bytes::{BufMut as _, BytesMut};
use hopmq::Instant;

use super::HostId;
use super::alarm::Alarm;
use super::link::{Link, NEVER, Path};
use crate::random::Random;
use crate::timers::Timers;
use crate::wakers::{Wakers, keep};

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) from: HostId,
    pub(super) to: HostId,
    /// What was written and not yet read.
    bytes: VecDeque<u8>,
    /// When it goes: so many bytes each, at least one, in order.
    segments: VecDeque<(When, usize)>,
    /// What comes behind it.
    last: Option<(When, Last)>,
    /// Who would read is not there any more.
    pub(super) sink: Option<Sink>,
    /// Nothing arrives before this.
    not_before: Instant,
    /// The wire is busy until then.
    busy_until: Instant,
    window: usize,
    /// Who waits for something to arrive.
    reader: Alarm,
    /// Who waits for room.
    writer: Option<Waker>,
    /// Who waits for room on the way back, and is told of a reset.
    writer_back: Alarm,
}

/// When something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct When {
    /// Until then the wire is busy with it.
    sent: Instant,
    arrives: Instant,
}

impl When {
    const NEVER: Self = Self { sent: NEVER, arrives: NEVER };
}

/// The end of what one side says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// It has said everything.
    End,
    /// There is no connection any more.
    Reset,
}

/// What becomes of bytes that nobody will read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sink {
    /// The host answers with a reset, once it gets them. So many have not been answered.
    Answering(usize),
    /// They vanish, and fill the writer's window.
    Silent(usize),
}

/// What there is to read.
pub(super) enum Arrived {
    Bytes(usize),
    End,
    Reset,
    Nothing,
}

impl Way {
    pub(super) fn new(from: HostId, to: HostId, link: &Link) -> Self {
        Self {
            from,
            to,
            bytes: VecDeque::new(),
            segments: VecDeque::new(),
            last: None,
            sink: None,
            not_before: Instant::ZERO,
            busy_until: Instant::ZERO,
            window: link.window,
            reader: Alarm::default(),
            writer: None,
            writer_back: Alarm::default(),
        }
    }

    pub(super) fn is_between(&self, a: HostId, b: HostId) -> bool {
        (self.from == a && self.to == b) || (self.from == b && self.to == a)
    }

    /// Nothing more can be written.
    pub(super) const fn is_ended(&self) -> bool {
        self.last.is_some()
    }

    /// The reader has been told that there is no connection.
    pub(super) fn is_reset(&self, now: Instant) -> bool {
        self.last.is_some_and(|(when, last)| last == Last::Reset && when.arrives <= now)
    }

    /// How many bytes the writer may write.
    pub(super) fn room(&self) -> usize {
        let vanished = match self.sink {
            Some(Sink::Answering(count) | Sink::Silent(count)) => count,
            None => 0,
        };
        self.window.saturating_sub(self.bytes.len()).saturating_sub(vanished)
    }

    /// Writes some of `chunks`, of which there is `room`, and says how many bytes, and to `seen` which.
    pub(super) fn write(
        &mut self,
        chunks: &[IoSlice<'_>],
        path: &Path,
        now: Instant,
        random: &mut Random,
        mut seen: impl FnMut(&[u8]),
    ) -> usize {
        let mut room = self.room();
        let mut written = 0;
        for chunk in chunks {
            let part = chunk.get(..room.min(chunk.len())).unwrap_or_default();
            seen(part);
            if self.sink.is_none() {
                self.bytes.extend(part);
            }
            room -= part.len();
            written += part.len();
        }
        match &mut self.sink {
            Some(Sink::Answering(count) | Sink::Silent(count)) => *count += written,
            None => {
                let when = self.schedule(written, path, now, random);
                self.push(when, written);
            }
        }
        written
    }

    fn push(&mut self, when: When, bytes: usize) {
        match self.segments.back_mut() {
            Some((last, count)) if last.arrives == when.arrives => {
                *count += bytes;
                last.sent = when.sent;
            }
            _ => self.segments.push_back((when, bytes)),
        }
    }

    /// When something goes that is handed over now.
    fn schedule(&mut self, bytes: usize, path: &Path, now: Instant, random: &mut Random) -> When {
        if path.is_partitioned {
            return When::NEVER;
        }
        self.busy_until = self.busy_until.max(now) + path.link.transmission(bytes);
        self.not_before = self.not_before.max(self.busy_until + path.link.delay(random));
        When { sent: self.busy_until, arrives: self.not_before }
    }

    /// Says the last word, behind what was written.
    pub(super) fn finish(&mut self, last: Last, path: &Path, now: Instant, random: &mut Random) {
        let known = self.last.is_some_and(|(_, said)| said == Last::Reset || said == last);
        if !known {
            self.last = Some((self.schedule(0, path, now, random), last));
        }
    }

    /// The sender is gone at any byte of what has not arrived: what is behind it was never sent.
    pub(super) fn cut(&mut self, now: Instant, random: &mut Random) {
        let arrived = self.count_arrived(now);
        self.forget_from(arrived + random.index(self.bytes.len() - arrived + 1));
        self.last = None;
    }

    fn count_arrived(&self, now: Instant) -> usize {
        let arrived = self.segments.iter().take_while(|(when, _)| when.arrives <= now);
        arrived.map(|(_, count)| count).sum()
    }

    fn forget_from(&mut self, kept: usize) {
        self.bytes.truncate(kept);
        let mut left = kept;
        self.segments.retain_mut(|(_, count)| {
            *count = left.min(*count);
            left -= *count;
            *count > 0
        });
        let tail = self.segments.back().map(|(when, _)| *when);
        self.busy_until = tail.map_or(Instant::ZERO, |when| when.sent);
        self.not_before = tail.map_or(Instant::ZERO, |when| when.arrives);
    }

    /// Nobody reads any more; what had not arrived is counted as sent in vain.
    pub(super) fn sink(&mut self, sink: fn(usize) -> Sink, now: Instant, wakers: &mut Wakers) {
        let unread = self.bytes.len() - self.count_arrived(now);
        self.forget_from(0);
        if !matches!(self.sink, Some(Sink::Silent(_))) {
            self.sink = Some(sink(unread));
        }
        wakers.wake(self.writer.take());
    }

    pub(super) fn has_unread(&self) -> bool {
        !self.bytes.is_empty()
    }

    pub(super) fn arrived(&self, now: Instant, path: &Path) -> Arrived {
        let at_once = path.link.segment;
        let mut count = 0;
        for (when, len) in &self.segments {
            if when.arrives > now || count >= at_once {
                break;
            }
            count += len;
        }
        match self.last {
            _ if count > 0 => Arrived::Bytes(count.min(at_once)),
            Some((when, last)) if when.arrives <= now && self.segments.is_empty() => match last {
                Last::End => Arrived::End,
                Last::Reset => Arrived::Reset,
            },
            _ => Arrived::Nothing,
        }
    }

    /// Reads as many bytes, which have arrived.
    pub(super) fn read(&mut self, count: usize, input: &mut BytesMut, wakers: &mut Wakers) {
        let (front, back) = self.bytes.as_slices();
        let from_front = count.min(front.len());
        input.put_slice(front.get(..from_front).unwrap_or_default());
        input.put_slice(back.get(..count - from_front).unwrap_or_default());
        self.bytes.drain(..count);
        let mut left = count;
        while left > 0
            && let Some((_, len)) = self.segments.front_mut()
        {
            let taken = left.min(*len);
            *len -= taken;
            left -= taken;
            if *len == 0 {
                self.segments.pop_front();
            }
        }
        wakers.wake(self.writer.take());
    }

    pub(super) fn wait_to_write(&mut self, waker: &Waker, wakers: &mut Wakers) {
        keep(&mut self.writer, waker, wakers);
    }

    /// Who waits to write on the way back is woken when a reset arrives on this one.
    pub(super) fn wait_for_reset(
        &mut self,
        waker: &Waker,
        timers: &mut Timers,
        now: Instant,
        wakers: &mut Wakers,
    ) {
        self.writer_back.keep(waker, timers, wakers);
        self.arm(timers, now, wakers);
    }

    pub(super) fn wait_to_read(
        &mut self,
        waker: &Waker,
        timers: &mut Timers,
        now: Instant,
        wakers: &mut Wakers,
    ) {
        self.reader.keep(waker, timers, wakers);
        self.arm(timers, now, wakers);
    }

    /// Sees to it that everybody at its end is woken when the next thing arrives that concerns them.
    pub(super) fn arm(&mut self, timers: &mut Timers, now: Instant, wakers: &mut Wakers) {
        let last = self.last.map(|(when, _)| when);
        let next = self.segments.front().map(|(when, _)| *when).or(last);
        let reset = self.last.filter(|(_, last)| *last == Last::Reset).map(|(when, _)| when);
        let comes = |when: When| Some(when.arrives).filter(|at| *at < NEVER);
        self.reader.set(next.and_then(comes), timers, now, wakers);
        self.writer_back.set(reset.and_then(comes), timers, now, wakers);
    }

    /// What has not arrived does not while nothing gets through.
    pub(super) fn hold(&mut self, now: Instant) {
        let late =
            self.segments.iter_mut().map(|(when, _)| when).chain(self.last.as_mut().map(|(when, _)| when));
        late.filter(|when| when.arrives > now).for_each(|when| *when = When::NEVER);
    }

    /// What was held goes at last.
    pub(super) fn release(&mut self, path: &Path, now: Instant, random: &mut Random) {
        self.send_again(|when| when.arrives == NEVER, path, now, random);
    }

    /// What has not gone over the link as it was goes as it is now.
    pub(super) fn change(&mut self, was: &Link, path: &Path, now: Instant, random: &mut Random) {
        if path.is_partitioned {
            return; // all of it is held
        }
        self.split_at_the_wire(was, now);
        self.send_again(|when| when.sent > now, path, now, random);
    }

    /// Of what is half way onto the wire, the part that is on it does not come back.
    fn split_at_the_wire(&mut self, link: &Link, now: Instant) {
        let Some(at) = self.segments.iter().position(|(when, _)| when.sent > now) else { return };
        let before = at.checked_sub(1).and_then(|before| self.segments.get(before));
        let not_before = before.map_or(Instant::ZERO, |(when, _)| when.arrives);
        let Some((when, count)) = self.segments.get_mut(at) else { return };
        let (whole, left) = (*when, when.sent - now);
        let unsent = link.carries(left);
        if let Some(sent) = count.checked_sub(unsent).filter(|sent| *sent > 0) {
            let flies = whole.arrives - whole.sent;
            *when = When { sent: now, arrives: (now + flies).max(not_before) };
            *count = sent;
            self.segments.insert(at + 1, (whole, unsent));
        }
    }

    /// Sends what `is_late` anew, behind what is not.
    fn send_again(&mut self, is_late: impl Fn(When) -> bool, path: &Path, now: Instant, random: &mut Random) {
        self.busy_until = now;
        self.not_before = now;
        for (when, count) in std::mem::take(&mut self.segments) {
            if is_late(when) {
                let when = self.schedule(count, path, now, random);
                self.push(when, count);
            } else {
                self.not_before = self.not_before.max(when.arrives);
                self.push(when, count);
            }
        }
        if let Some((_, last)) = self.last.filter(|(when, _)| is_late(*when)) {
            self.last = Some((self.schedule(0, path, now, random), last));
        }
    }

    /// Everybody who waits looks again.
    pub(super) fn wake_all(&mut self, timers: &mut Timers, wakers: &mut Wakers) {
        self.reader.ring(timers, wakers);
        self.writer_back.ring(timers, wakers);
        wakers.wake(self.writer.take());
    }
}
