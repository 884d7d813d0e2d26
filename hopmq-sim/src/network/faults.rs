use std::collections::VecDeque;

use hopmq::Instant;

use super::line::{Line, both};
use super::link::Dials;
use super::way::{Last, Sink};
use super::{HostId, Network, Power};
use crate::timers::Timers;
use crate::wakers::Wakers;

/// How the connections of a host end that goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// Without a word: the power is gone.
    Silent,
    /// By its kernel, as for a process that was killed.
    Closed,
}

impl Network {
    /// The host is no more: its ends are gone, and its ports. False when it was so already.
    pub(crate) fn bring_down(
        &mut self,
        host: HostId,
        death: Death,
        timers: &mut Timers,
        now: Instant,
        wakers: &mut Wakers,
    ) -> bool {
        let Some(machine) = self.hosts.get_mut(host.0) else { return false };
        machine.power = match (machine.power, death) {
            (Power::On, Death::Closed) => Power::Killed,
            (Power::On | Power::Killed, Death::Silent) => Power::Off,
            (Power::Killed | Power::Off, _) => return false,
        };
        machine.is_frozen = false;
        let ports = std::mem::take(&mut machine.ports);
        let unaccepted: VecDeque<u64> =
            ports.into_values().flat_map(|port| port.into_lines(wakers)).collect();
        for (number, side) in self.ends_of(host) {
            if death == Death::Closed {
                self.close(number, side, timers, now, wakers);
            }
            let Self { lines, random, .. } = self;
            let Some(line) = lines.get_mut(number) else { continue };
            let [own, other] = both(&mut line.ways, side);
            if death == Death::Silent {
                own.cut(now, random);
                other.sink(Sink::Answering, now, wakers);
            }
            own.wake_all(timers, wakers);
            other.wake_all(timers, wakers);
            let [side, _] = both(&mut line.sides, side);
            side.is_gone = true;
            side.is_held &= !unaccepted.contains(&number);
        }
        for number in unaccepted {
            self.forget(number, timers, wakers);
        }
        self.wake_dials(wakers); // a kernel that lives on refuses them
        true
    }

    /// Its kernel says that nobody is there any more.
    fn close(&mut self, number: u64, side: usize, timers: &mut Timers, now: Instant, wakers: &mut Wakers) {
        let Some([here, there]) = self.lines.get(number).and_then(|line| super::line::hosts(line, side))
        else {
            return;
        };
        let path = self.path(here, there);
        let Self { lines, random, .. } = self;
        let Some(line) = lines.get_mut(number) else { return };
        let [own, other] = both(&mut line.ways, side);
        own.finish(if other.has_unread() { Last::Reset } else { Last::End }, &path, now, random);
        own.arm(timers, now, wakers);
        other.sink(Sink::Answering, now, wakers);
    }

    /// The host is there again. What others still send to its former connections is answered now. False when it was there.
    pub(crate) fn bring_up(
        &mut self,
        host: HostId,
        timers: &mut Timers,
        now: Instant,
        wakers: &mut Wakers,
    ) -> bool {
        let Some(machine) = self.hosts.get_mut(host.0).filter(|machine| machine.power != Power::On) else {
            return false;
        };
        machine.power = Power::On;
        self.answer_late(timers, now, wakers);
        self.wake_dials(wakers);
        true
    }

    pub(super) fn wake_dials(&mut self, wakers: &mut Wakers) {
        wakers.wake(std::mem::take(&mut self.waiting));
    }

    /// What was sent to nobody, and could not be answered then, is.
    fn answer_late(&mut self, timers: &mut Timers, now: Instant, wakers: &mut Wakers) {
        let unanswered = |line: &Line, side: usize| {
            let way = line.ways.get(side)?;
            matches!(way.sink, Some(Sink::Answering(1..))).then_some((way.from, way.to))
        };
        let numbers: Vec<_> = self.lines.iter_mut().map(|(number, _)| number).collect();
        for (number, side) in numbers.into_iter().flat_map(|number| [(number, 0), (number, 1)]) {
            let Some((from, to)) = self.lines.get(number).and_then(|line| unanswered(line, side)) else {
                continue;
            };
            let Some(arrival) = self.reaches(from, to, now) else { continue };
            let back = self.path(to, from);
            let Self { lines, random, .. } = self;
            let Some(line) = lines.get_mut(number) else { continue };
            let [_, other] = both(&mut line.ways, side);
            other.finish(Last::Reset, &back, arrival, random);
            other.arm(timers, now, wakers);
        }
    }

    /// The connections of a host, and which side of each it is.
    fn ends_of(&mut self, host: HostId) -> Vec<(u64, usize)> {
        let sides = |(number, line): (u64, &mut Line)| {
            let is_here =
                |side: usize| line.side(side).is_some_and(|side| side.host == host && !side.is_gone);
            [0, 1].map(|side| is_here(side).then_some((number, side)))
        };
        self.lines.iter_mut().flat_map(sides).flatten().collect()
    }

    /// The numbers of the connections between two hosts.
    fn between(&mut self, a: HostId, b: HostId) -> Vec<u64> {
        let lines = self.lines.iter_mut();
        let is_between = |line: &Line| line.ways.first().is_some_and(|way| way.is_between(a, b));
        lines.filter(|(_, line)| is_between(line)).map(|(number, _)| number).collect()
    }

    /// The connections between two hosts end, at any byte, and both are told.
    pub(crate) fn cut(
        &mut self,
        a: HostId,
        b: HostId,
        timers: &mut Timers,
        now: Instant,
        wakers: &mut Wakers,
    ) {
        for number in self.between(a, b) {
            for side in [0, 1] {
                let Some([here, there]) =
                    self.lines.get(number).and_then(|line| super::line::hosts(line, side))
                else {
                    continue;
                };
                let path = self.path(here, there);
                let Self { lines, random, .. } = self;
                let Some(line) = lines.get_mut(number) else { continue };
                let [own, _] = both(&mut line.ways, side);
                own.cut(now, random);
                own.finish(Last::Reset, &path, now, random);
                own.wake_all(timers, wakers);
            }
        }
    }

    /// The connections between two hosts are gone for `a`, which is told, and `b` is never told: what it sends vanishes.
    pub(crate) fn lose(
        &mut self,
        a: HostId,
        b: HostId,
        timers: &mut Timers,
        now: Instant,
        wakers: &mut Wakers,
    ) {
        let numbers = self.between(a, b);
        let Self { lines, random, .. } = self;
        for number in numbers {
            let Some(line) = lines.get_mut(number) else { continue };
            let side = usize::from(line.side(0).is_some_and(|side| side.host != a));
            let [own, other] = both(&mut line.ways, side);
            own.cut(now, random);
            own.wake_all(timers, wakers);
            other.sink(Sink::Silent, now, wakers);
            other.wake_all(timers, wakers);
            let [own, _] = both(&mut line.sides, side);
            own.is_gone = true;
        }
    }

    /// From one host to the other nothing gets through any more. False when nothing did.
    pub(crate) fn partition(&mut self, from: HostId, to: HostId, now: Instant) -> bool {
        if self.path(from, to).is_partitioned {
            return false;
        }
        self.change(from, to, |path| path.is_partitioned = true);
        self.lines.ways(from, to).for_each(|way| way.hold(now));
        true
    }

    /// It does again, and what was held comes. False when it did.
    pub(crate) fn heal(
        &mut self,
        from: HostId,
        to: HostId,
        timers: &mut Timers,
        now: Instant,
        wakers: &mut Wakers,
    ) -> bool {
        if !self.path(from, to).is_partitioned {
            return false;
        }
        self.change(from, to, |path| path.is_partitioned = false);
        let path = self.path(from, to);
        let Self { lines, random, .. } = self;
        for way in lines.ways(from, to) {
            way.release(&path, now, random);
            way.arm(timers, now, wakers);
        }
        self.answer_late(timers, now, wakers);
        self.wake_dials(wakers);
        true
    }

    /// What becomes of dials from now on. False when it did.
    pub(crate) fn set_dials(&mut self, from: HostId, to: HostId, dials: Dials, wakers: &mut Wakers) -> bool {
        let was = self.path(from, to).dials;
        self.change(from, to, |path| path.dials = dials);
        self.wake_dials(wakers);
        was != dials
    }

    /// The tasks of a host stand still, or go on. False when they did, or there are none.
    pub(crate) fn set_frozen(&mut self, host: HostId, is_frozen: bool) -> bool {
        let machine = self.hosts.get_mut(host.0).filter(|machine| machine.power == Power::On);
        machine.is_some_and(|machine| std::mem::replace(&mut machine.is_frozen, is_frozen) != is_frozen)
    }
}
