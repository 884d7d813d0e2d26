use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hopmq::Instant;
use hopmq_proto::amqp::HEARTBEAT_FRAME;

use crate::network::HostId;
use crate::wakers::Wakers;
use crate::world::World;

const MILLI: u64 = 1_000_000;

/// What hosts do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// It writes to a connection.
    Sends,
    /// It reads from one.
    Receives,
    /// A timer of a task there fires: it has slept, as long as a write to a disk takes in a simulation. So do connections for
    /// their heartbeats and deadlines. What fires while the host is frozen is not counted, then or later.
    Wakes,
}

/// Something that is waited for: the n-th time from some time on that a host does something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch {
    pub(crate) host: HostId,
    pub(crate) does: Does,
    /// With whom, if not with anybody.
    pub(crate) peer: Option<HostId>,
    pub(crate) since: Instant,
    pub(crate) nth: u64,
}

/// When it came: in this millisecond, and which one of that it was.
pub(crate) type Seen = (Instant, u64);

#[derive(Debug)]
struct Waiting {
    number: u64,
    watch: Watch,
    waker: Option<Waker>,
    /// The last millisecond in which there was one, and how many.
    latest: Seen,
    seen: Option<Seen>,
}

/// Who waits for what a host does. Heartbeats that are sent or received do not count.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    all: Vec<Waiting>,
    last: u64,
}

impl Watches {
    /// A host sends so many bytes to another, or receives them from it.
    pub(crate) fn saw_bytes(
        &mut self,
        does: Does,
        hosts: [HostId; 2],
        count: usize,
        now: Instant,
        wakers: &mut Wakers,
    ) {
        if count != HEARTBEAT_FRAME.len() {
            self.saw(does, hosts, now, wakers);
        }
    }

    /// A timer of a host fires.
    pub(crate) fn saw_timer(&mut self, host: HostId, now: Instant, wakers: &mut Wakers) {
        self.saw(Does::Wakes, [host; 2], now, wakers);
    }

    fn saw(&mut self, does: Does, [host, peer]: [HostId; 2], now: Instant, wakers: &mut Wakers) {
        let milli = Instant::from_nanos(now.as_nanos() / MILLI * MILLI);
        for Waiting { watch, waker, latest, seen, .. } in &mut self.all {
            let is_it =
                watch.host == host && watch.does == does && watch.peer.is_none_or(|with| with == peer);
            if !is_it || now < watch.since || seen.is_some() {
                continue;
            }
            *latest = if latest.0 == milli { (milli, latest.1 + 1) } else { (milli, 1) };
            watch.nth = watch.nth.saturating_sub(1);
            if watch.nth == 0 {
                *seen = Some(*latest);
                wakers.wake(waker.take());
            }
        }
    }

    /// Everybody who waits, for nothing will come.
    pub(crate) fn clear(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.all).into_iter().filter_map(|waiting| waiting.waker).collect()
    }
}

/// Ready when it was seen.
pub(crate) struct Sight {
    world: Arc<World>,
    number: u64,
}

impl Sight {
    pub(crate) fn new(world: &Arc<World>, watch: Watch) -> Self {
        let watches = &mut world.lock().watches;
        watches.last += 1;
        let number = watches.last;
        watches.all.push(Waiting { number, watch, waker: None, latest: (Instant::ZERO, 0), seen: None });
        Self { world: world.clone(), number }
    }
}

impl Future for Sight {
    type Output = Seen;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Seen> {
        let mut state = self.world.lock();
        let waiting = state.watches.all.iter_mut().find(|waiting| waiting.number == self.number);
        let Some(waiting) = waiting else { return Poll::Pending }; // the world is over
        if let Some(seen) = waiting.seen {
            state.trace.mix(seen.1);
            return Poll::Ready(seen);
        }
        let stale = waiting.waker.replace(cx.waker().clone());
        drop(state);
        drop(stale);
        Poll::Pending
    }
}

impl Drop for Sight {
    fn drop(&mut self) {
        let mut state = self.world.lock();
        let at = state.watches.all.iter().position(|waiting| waiting.number == self.number);
        let gone = at.map(|at| state.watches.all.remove(at));
        drop(state);
        drop(gone);
    }
}
