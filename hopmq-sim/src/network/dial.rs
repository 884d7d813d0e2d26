use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hopmq::Instant;
use hopmq::io::Timer as _;

use super::link::Dials;
use super::{HostId, Network, Stream};
use crate::timers::{SimTimer, Sleep};
use crate::trace::What;
use crate::wakers::Wakers;
use crate::world::World;

/// At most so long after a way is open again somebody tries it again.
const TRIED_AGAIN_WITHIN: u64 = 1000;

/// Opens a connection, as soon as the other host can be reached.
pub(crate) async fn dial(world: &Arc<World>, from: HostId, name: &str, port: u16) -> io::Result<Stream> {
    let to = if name == "localhost" { Some(from) } else { world.lock().network.find(name) };
    let Some(to) = to else {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no host named {name}")));
    };
    reach(world, from, to, true).await;
    let opened = open(world, from, to, port);
    reach(world, to, from, false).await;
    opened.ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
}

/// The other host is asked.
fn open(world: &Arc<World>, from: HostId, to: HostId, port: u16) -> Option<Stream> {
    let mut wakers = Wakers::default();
    let number = {
        let state = &mut *world.lock();
        let (now, network) = (world.now(), &mut state.network);
        let is_refused = network.path(from, to).dials == Dials::Refused;
        let number = if is_refused { None } else { network.connect(from, to, port, &mut wakers) };
        let what = match number {
            Some(line) => What::Open { line, from, to, port },
            None => What::Refused { from, to, port },
        };
        state.trace.add(now, what);
        number
    };
    wakers.release();
    number.map(|number| Stream::new(world.clone(), number, 0))
}

/// Waits until something has come from one host to the other, however often it must be sent.
async fn reach(world: &Arc<World>, from: HostId, to: HostId, is_dial: bool) {
    let mut timer = SimTimer::new(world.clone());
    loop {
        let mut has_waited = false;
        let arrival = poll_fn(|cx| {
            let mut wakers = Wakers::default();
            let arrival = {
                let state = &mut *world.lock();
                let arrival = state.network.answers(from, to, is_dial, world.now());
                if arrival.is_none() {
                    state.network.wait(cx.waker(), &mut wakers);
                }
                arrival
            };
            wakers.release();
            has_waited |= arrival.is_none();
            arrival.map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        if has_waited {
            let millis = world.lock().network.random.below(TRIED_AGAIN_WITHIN);
            Sleep::new(world, Duration::from_millis(millis)).await;
            continue;
        }
        poll_fn(|cx| timer.poll_until(cx, arrival)).await;
        let mut state = world.lock();
        if state.network.answers(from, to, is_dial, world.now()).is_some() {
            return;
        }
    }
}

impl Network {
    /// When something arrives there that is sent now, if it does and is answered.
    fn answers(&mut self, from: HostId, to: HostId, is_dial: bool, now: Instant) -> Option<Instant> {
        let is_swallowed = is_dial && self.path(from, to).dials == Dials::Swallowed;
        if is_swallowed { None } else { self.reaches(from, to, now) }
    }
}
