use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
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
    let to = if is_loopback(name) { Some(from) } else { world.lock().network.find(name) };
    let Some(to) = to else {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no host named {name}")));
    };
    is_up(world, from)?;
    reach(world, from, to, Some(port)).await;
    is_up(world, from)?;
    let opened = open(world, from, to, port);
    reach(world, to, from, None).await;
    opened.ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
}

/// Whether this is what every host calls itself.
fn is_loopback(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A host that is down dials nobody.
fn is_up(world: &Arc<World>, host: HostId) -> io::Result<()> {
    let network = &world.lock().network;
    if network.is_up(host) { Ok(()) } else { Err(network.is_down(host)) }
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

/// Waits until something has come from one host to the other, however often it must be sent. A port is what is dialled.
async fn reach(world: &Arc<World>, from: HostId, to: HostId, port: Option<u16>) {
    let mut timer = SimTimer::new(world.clone());
    loop {
        let mut has_waited = false;
        let arrival = poll_fn(|cx| {
            let mut wakers = Wakers::default();
            let arrival = {
                let state = &mut *world.lock();
                let arrival = state.network.answers(from, to, port, world.now());
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
        if state.network.answers(from, to, port, world.now()).is_some() {
            return;
        }
    }
}

impl Network {
    /// When something arrives there that is sent now, if it does and is answered.
    fn answers(&mut self, from: HostId, to: HostId, port: Option<u16>, now: Instant) -> Option<Instant> {
        let is_swallowed = port.is_some_and(|port| match self.path(from, to).dials {
            Dials::Answered => self.is_full(to, port),
            Dials::Refused => false,
            Dials::Swallowed => true,
        });
        if is_swallowed { None } else { self.reaches(from, to, now) }
    }
}
