use std::collections::BTreeMap;

use hopmq::Instant;

use super::link::Link;
use super::way::{Last, Sink, Way};
use super::{HostId, Network};
use crate::timers::Timers;
use crate::trace::Talk;
use crate::wakers::Wakers;

/// A connection. Side 0 has dialled, side 1 accepts.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) sides: [Side; 2],
    /// Each is written by the side of its number.
    pub(super) ways: [Way; 2],
    /// The port that it was dialled from.
    pub(super) port: u16,
    /// What was said, where anybody reads it.
    pub(super) talk: Talk,
}

/// One end.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) host: HostId,
    /// Somebody has a [`Stream`](super::Stream) of it, or will accept it.
    pub(super) is_held: bool,
    /// It has lost the connection: its host has crashed since, or something in the network has forgotten it.
    pub(super) is_gone: bool,
}

impl Line {
    pub(super) fn new(from: HostId, to: HostId, port: u16, there: &Link, back: &Link) -> Self {
        let side = |host| Side { host, is_held: true, is_gone: false };
        Self {
            sides: [side(from), side(to)],
            ways: [Way::new(from, to, there), Way::new(to, from, back)],
            port,
            talk: Talk::default(),
        }
    }

    pub(super) fn side(&self, side: usize) -> Option<&Side> {
        self.sides.get(side)
    }
}

/// All connections by their number. Few at a time, and looked at in the order of their numbers by every fault.
#[derive(Debug)]
pub(super) struct Lines {
    all: BTreeMap<u64, Line>,
    last: u64,
}

impl Lines {
    pub(super) const fn new() -> Self {
        Self { all: BTreeMap::new(), last: 0 }
    }

    pub(super) const fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn insert(&mut self, number: u64, line: Line) {
        self.all.insert(number, line);
    }

    pub(super) fn get(&self, number: u64) -> Option<&Line> {
        self.all.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Line> {
        self.all.get_mut(&number)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Line)> {
        self.all.iter_mut().map(|(number, line)| (*number, line))
    }

    /// What the connections have from one host to the other.
    pub(super) fn ways(&mut self, from: HostId, to: HostId) -> impl Iterator<Item = &mut Way> {
        let all = self.all.values_mut().flat_map(|line| line.ways.iter_mut());
        all.filter(move |way| way.from == from && way.to == to)
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Line> {
        self.all.remove(&number)
    }

    pub(super) fn take(&mut self) -> BTreeMap<u64, Line> {
        std::mem::take(&mut self.all)
    }
}

impl Network {
    /// A side is let go of, by whoever had it: the other one reads the end, or a reset when it was not listened to.
    pub(super) fn let_go(
        &mut self,
        number: u64,
        side: usize,
        timers: &mut Timers,
        now: Instant,
        wakers: &mut Wakers,
    ) {
        let Some([here, there]) = self.lines.get(number).and_then(|line| hosts(line, side)) else { return };
        let path = self.path(here, there);
        let Self { lines, random, .. } = self;
        let Some(line) = lines.get_mut(number) else { return };
        let [own, other] = both(&mut line.ways, side);
        let [own_side, _] = both(&mut line.sides, side);
        own_side.is_held = false;
        if !own_side.is_gone {
            let last = if other.has_unread() { Last::Reset } else { Last::End };
            own.finish(last, &path, now, random);
            own.arm(timers, now, wakers);
            other.sink(Sink::Answering, now, wakers);
        }
        self.forget(number, timers, wakers);
    }

    /// A connection that nobody holds any more is no more.
    pub(super) fn forget(&mut self, number: u64, timers: &mut Timers, wakers: &mut Wakers) {
        if self.lines.get(number).is_some_and(|line| line.sides.iter().all(|side| !side.is_held)) {
            let line = self.lines.remove(number);
            for mut way in line.into_iter().flat_map(|line| line.ways) {
                way.wake_all(timers, wakers);
            }
        }
    }
}

/// The host of this side, and the other one.
pub(super) fn hosts(line: &Line, side: usize) -> Option<[HostId; 2]> {
    Some([line.side(side)?.host, line.side(1 - side)?.host])
}

/// What belongs to this side, and what to the other.
pub(super) fn both<T>(pair: &mut [T; 2], side: usize) -> [&mut T; 2] {
    let [first, second] = pair;
    if side == 0 { [first, second] } else { [second, first] }
}

#[cfg(test)]
mod tests {
    use crate::{Host, Sim};

    #[test]
    fn a_connection_that_nobody_accepts_goes_with_its_ends() {
        let sim = Sim::new(1);
        let lines = || sim.world.lock().network.lines.all.len();
        sim.run(async {
            let (a, b) = (sim.host("a"), sim.host("b"));
            for goes_down in [Host::crash, Host::kill] {
                let listener = b.listen(1).unwrap();
                let (kept, dropped) = (a.dial("b", 1).await.unwrap(), a.dial("b", 1).await.unwrap());
                drop(dropped);
                assert_eq!(lines(), 2);
                goes_down(&b);
                assert_eq!(lines(), 1);
                drop(kept);
                assert_eq!(lines(), 0);
                drop(listener);
                b.restart();
            }
        })
        .unwrap();
    }
}
