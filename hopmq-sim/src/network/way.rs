use std::collections::VecDeque;
use std::io::IoSlice;
use std::task::Waker;

use bytes::{BufMut as _, BytesMut};
use hopmq::Instant;

use super::HostId;
use super::link::{Link, NEVER, Path};
use crate::random::Random;
use crate::timers::{Place, Timers};
use crate::wakers::{Wakers, keep};

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) from: HostId,
    pub(super) to: HostId,
    /// What was written and not yet read.
    bytes: VecDeque<u8>,
    /// When it arrives: so many bytes each, in order.
    segments: VecDeque<(Instant, usize)>,
    /// What comes behind it.
    last: Option<(Instant, Last)>,
    /// Who would read is not there any more.
    pub(super) sink: Option<Sink>,
    /// Nothing arrives before this.
    not_before: Instant,
    /// The wire is busy until then.
    busy_until: Instant,
    window: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Wakes the reader when something arrives.
    alarm: Option<Place>,
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
            reader: None,
            writer: None,
            alarm: None,
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
        self.last.is_some_and(|(at, last)| last == Last::Reset && at <= now)
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
                let at = self.arrival(written, path, now, random);
                match self.segments.back_mut() {
                    Some((last, count)) if *last == at => *count += written,
                    _ => self.segments.push_back((at, written)),
                }
            }
        }
        written
    }

    /// When something arrives that is sent now.
    fn arrival(&mut self, bytes: usize, path: &Path, now: Instant, random: &mut Random) -> Instant {
        if path.is_partitioned {
            return NEVER;
        }
        self.busy_until = self.busy_until.max(now) + path.link.transmission(bytes);
        let at = self.busy_until + path.link.delay(random);
        self.not_before = self.not_before.max(at);
        self.not_before
    }

    /// Says the last word, behind what was written.
    pub(super) fn finish(&mut self, last: Last, path: &Path, now: Instant, random: &mut Random) {
        let known = self.last.is_some_and(|(_, said)| said == Last::Reset || said == last);
        if !known {
            let at = self.arrival(0, path, now, random);
            self.last = Some((at, last));
        }
    }

    /// The sender is gone at any byte: what is behind it was never sent.
    pub(super) fn cut(&mut self, random: &mut Random) {
        let kept = random.index(self.bytes.len() + 1);
        self.forget_from(kept);
        self.last = None;
    }

    fn forget_from(&mut self, kept: usize) {
        self.bytes.truncate(kept);
        let mut left = kept;
        self.segments.retain_mut(|(_, count)| {
            *count = left.min(*count);
            left -= *count;
            *count > 0
        });
    }

    /// Nobody reads any more; what was not read is counted as sent in vain.
    pub(super) fn sink(&mut self, sink: fn(usize) -> Sink, wakers: &mut Wakers) {
        let unread = self.bytes.len();
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
        for (at, len) in &self.segments {
            if *at > now || count >= at_once {
                break;
            }
            count += len;
        }
        match self.last {
            _ if count > 0 => Arrived::Bytes(count.min(at_once)),
            Some((at, last)) if at <= now && self.segments.is_empty() => match last {
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

    pub(super) fn wait_to_read(
        &mut self,
        waker: &Waker,
        timers: &mut Timers,
        now: Instant,
        wakers: &mut Wakers,
    ) {
        if keep(&mut self.reader, waker, wakers) {
            self.disarm(timers, wakers);
        }
        self.arm(timers, now, wakers);
    }

    fn disarm(&mut self, timers: &mut Timers, wakers: &mut Wakers) {
        wakers.forget(self.alarm.take().and_then(|place| timers.disarm(place)));
    }

    /// Sees to it that the reader is woken when the next thing arrives.
    pub(super) fn arm(&mut self, timers: &mut Timers, now: Instant, wakers: &mut Wakers) {
        let next = self.segments.front().map(|(at, _)| *at);
        let next = next.or(self.last.map(|(at, _)| at)).filter(|at| *at < NEVER);
        if self.alarm.map(|(at, _)| at) == next && next.is_none_or(|at| at > now) {
            return;
        }
        self.disarm(timers, wakers);
        match next {
            Some(at) if at <= now => wakers.wake(self.reader.take()),
            Some(at) => self.alarm = self.reader.clone().map(|reader| timers.arm(at, reader)),
            None => {}
        }
    }

    /// What has not arrived does not while nothing gets through.
    pub(super) fn hold(&mut self, now: Instant) {
        let late = self.segments.iter_mut().map(|(at, _)| at).chain(self.last.as_mut().map(|(at, _)| at));
        late.filter(|at| **at > now).for_each(|at| *at = NEVER);
    }

    /// What was held comes at last.
    pub(super) fn release(&mut self, path: &Path, now: Instant, random: &mut Random) {
        let at = (now + path.link.delay(random)).max(self.not_before);
        self.not_before = at;
        let late = self.segments.iter_mut().map(|(at, _)| at).chain(self.last.as_mut().map(|(at, _)| at));
        late.filter(|at| **at == NEVER).for_each(|late| *late = at);
    }

    /// Everybody who waits looks again.
    pub(super) fn wake_all(&mut self, timers: &mut Timers, wakers: &mut Wakers) {
        self.disarm(timers, wakers);
        wakers.wake(self.reader.take());
        wakers.wake(self.writer.take());
    }
}
