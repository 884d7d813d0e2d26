//! A TCP proxy that is told to be a bad network.
//!
//! One task per connection carries both directions. What a fault does to a connection that is open, and to those that come
//! while it lasts, is in [`Fault`]; [`Proxy::apply`] does it from its beginning to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::pump::{Ended, Flow, pump};
use crate::node::free_port;

/// How long a cut waits for the bytes behind which it is to come.
const CUT_PATIENCE: Duration = Duration::from_millis(800);
/// How often to look for a port that nobody else takes meanwhile.
const PORT_ATTEMPTS: usize = 16;
/// How long to wait before a port is tried again.
const PAUSE: Duration = Duration::from_millis(10);
const BACKLOG: u32 = 128;

/// One of a connection's directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What goes wrong on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Both legs of every connection are closed, behind so many more bytes in one direction.
    Cut {
        /// The direction.
        side: Side,
        /// How many bytes.
        after: u64,
    },
    /// As [`Cut`](Self::Cut), with a reset in place of an orderly end.
    Reset {
        /// The direction.
        side: Side,
        /// How many bytes.
        after: u64,
    },
    /// Nothing moves in the directions named.
    Stall {
        /// From the client to the server.
        up: bool,
        /// From the server to the client.
        down: bool,
        /// For how long.
        time: Duration,
    },
    /// No more than so many bytes a second in either direction.
    Throttle {
        /// How many.
        rate: u64,
        /// For how long.
        time: Duration,
    },
    /// Every byte is a write of its own.
    SingleBytes {
        /// For how long.
        time: Duration,
    },
    /// One direction ends in an orderly way; the other goes on, until the time is over and all is closed.
    HalfClose {
        /// The one that ends.
        side: Side,
        /// For how long.
        time: Duration,
    },
    /// Every connection is cut, and new ones are refused.
    Refuse {
        /// For how long.
        time: Duration,
    },
    /// Every connection is cut, and new ones are accepted and hear nothing.
    Silent {
        /// For how long.
        time: Duration,
        /// Whether those are reset in the end; otherwise they hear nothing for ever.
        reset: bool,
    },
    /// The client's legs are reset, and the server is not told: to it, the client is still there. What is exclusive stays
    /// locked.
    Orphan {
        /// For how long.
        time: Duration,
    },
}

impl Fault {
    /// What kinds are counted by.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Cut { .. } => "cut",
            Self::Reset { .. } => "reset",
            Self::Stall { up: true, down: true, .. } => "stall",
            Self::Stall { up: true, .. } => "stall-up",
            Self::Stall { .. } => "stall-down",
            Self::Throttle { .. } => "throttle",
            Self::SingleBytes { .. } => "single-bytes",
            Self::HalfClose { side: Side::Up, .. } => "half-close-up",
            Self::HalfClose { side: Side::Down, .. } => "half-close-down",
            Self::Refuse { .. } => "refuse",
            Self::Silent { .. } => "silent",
            Self::Orphan { .. } => "orphan",
        }
    }

    /// Whether every connection that it meets is lost.
    #[must_use]
    pub const fn loses(&self) -> bool {
        !matches!(self, Self::Stall { .. } | Self::Throttle { .. } | Self::SingleBytes { .. })
    }
}

/// What is done with a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Welcome {
    Carry,
    Refuse,
    /// It is accepted and hears nothing.
    Silence,
}

/// How a connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Close,
    Reset,
    /// Only towards the client; the server's leg stays until the next order.
    Orphan,
    HalfClose(Side),
}

/// What the connections of one moment are told: each heeds what is newer than itself.
#[derive(Debug, Clone, Copy, Default)]
struct Orders {
    /// The latest order to end, and for connections up to which number.
    end: Option<(End, u64)>,
    up: Flow,
    down: Flow,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    orders: watch::Sender<Orders>,
    /// How many connections have been accepted.
    accepted: AtomicU64,
    /// How many of them are open, on either leg.
    open: AtomicU64,
    /// Bytes carried, by direction.
    up: AtomicU64,
    down: AtomicU64,
}

/// The way to a server, on a port of its own.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    welcome: watch::Sender<Welcome>,
    acceptor: JoinHandle<()>,
    /// One fault at a time.
    turn: tokio::sync::Mutex<()>,
    faults: Mutex<Vec<&'static str>>,
}

impl Proxy {
    /// Starts one before `upstream`.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let mut socket = None;
        for _ in 0..PORT_ATTEMPTS {
            // Below the range from which the kernel serves: while it refuses, nobody is connected to itself here.
            socket = Some(hold(SocketAddr::from(([127, 0, 0, 1], free_port()))));
            if matches!(socket, Some(Ok(_))) {
                break;
            }
        }
        let socket = socket.unwrap_or_else(|| Err(io::ErrorKind::AddrInUse.into()))?;
        let address = socket.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            orders: watch::Sender::new(Orders::default()),
            accepted: AtomicU64::new(0),
            open: AtomicU64::new(0),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
        });
        let (welcome, told) = watch::channel(Welcome::Carry);
        let listener = socket.listen(BACKLOG)?;
        let acceptor = tokio::spawn(accept(address, listener, shared.clone(), told));
        let turn = tokio::sync::Mutex::new(());
        Ok(Self { address, shared, welcome, acceptor, turn, faults: Mutex::default() })
    }

    /// Where clients connect to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections have come in so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// How many connections are open, towards the client or the server.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// The kinds of the faults so far.
    #[must_use]
    pub fn faults(&self) -> Vec<&'static str> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Does what the fault says, and returns when it is over.
    pub async fn apply(&self, fault: Fault) {
        let _turn = self.turn.lock().await;
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault.kind());
        match fault {
            Fault::Cut { side, after } => {
                self.await_bytes(side, after).await;
                self.end(End::Close);
            }
            Fault::Reset { side, after } => {
                self.await_bytes(side, after).await;
                self.end(End::Reset);
            }
            Fault::Stall { up, down, time } => {
                let flow = |stalled| if stalled { Flow::Stalled } else { Flow::Free };
                self.flow(flow(up), flow(down), time).await;
            }
            Fault::Throttle { rate, time } => {
                self.flow(Flow::Throttled(rate), Flow::Throttled(rate), time).await;
            }
            Fault::SingleBytes { time } => self.flow(Flow::SingleBytes, Flow::SingleBytes, time).await,
            Fault::HalfClose { side, time } => {
                let met = self.end(End::HalfClose(side));
                sleep(time).await;
                self.end_up_to(End::Close, met);
            }
            Fault::Refuse { time } => self.receive(Welcome::Refuse, time).await,
            Fault::Silent { time, reset } => {
                self.receive(Welcome::Silence, time).await;
                if reset {
                    self.end(End::Reset);
                }
            }
            Fault::Orphan { time } => {
                let met = self.end(End::Orphan);
                sleep(time).await;
                self.end_up_to(End::Close, met);
            }
        }
    }

    /// From now on connections are refused, until [`open_again`](Self::open_again); those that are open are cut.
    pub fn refuse(&self) {
        self.welcome.send_replace(Welcome::Refuse);
        self.end(End::Close);
    }

    /// Ends a [`refuse`](Self::refuse).
    pub fn open_again(&self) {
        self.welcome.send_replace(Welcome::Carry);
    }

    async fn receive(&self, welcome: Welcome, time: Duration) {
        self.welcome.send_replace(welcome);
        self.end(End::Close);
        sleep(time).await;
        self.welcome.send_replace(Welcome::Carry);
    }

    async fn flow(&self, up: Flow, down: Flow, time: Duration) {
        self.shared.orders.send_modify(|orders| (orders.up, orders.down) = (up, down));
        sleep(time).await;
        self.shared.orders.send_modify(|orders| (orders.up, orders.down) = (Flow::Free, Flow::Free));
    }

    /// Ends the connections that there are, and says up to which number.
    fn end(&self, end: End) -> u64 {
        let last = self.accepted();
        self.end_up_to(end, last);
        last
    }

    fn end_up_to(&self, end: End, last: u64) {
        self.shared.orders.send_modify(|orders| orders.end = Some((end, last)));
    }

    async fn await_bytes(&self, side: Side, after: u64) {
        let carried = match side {
            Side::Up => &self.shared.up,
            Side::Down => &self.shared.down,
        };
        let goal = carried.load(Ordering::Relaxed) + after;
        let passed = async {
            while carried.load(Ordering::Relaxed) < goal {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let _ = timeout(CUT_PATIENCE, passed).await; // on a quiet line it comes all the same
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.end(End::Reset);
    }
}

/// A port that refuses, and is nobody else's.
fn hold(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?; // connections of before may linger
    socket.bind(address)?;
    Ok(socket)
}

/// Takes connections, or refuses them: then the port is held without a listener.
async fn accept(
    address: SocketAddr,
    mut listener: TcpListener,
    shared: Arc<Shared>,
    mut told: watch::Receiver<Welcome>,
) {
    loop {
        loop {
            let welcome = *told.borrow_and_update();
            if welcome == Welcome::Refuse {
                break;
            }
            tokio::select! {
                biased;
                changed = told.changed() => if changed.is_err() { return },
                accepted = listener.accept() => if let Ok((client, _)) = accepted {
                    let number = shared.accepted.fetch_add(1, Ordering::Relaxed) + 1;
                    tokio::spawn(carry(client, number, welcome, shared.clone()));
                },
            }
        }
        drop(listener);
        let mut held = hold(address);
        if told.wait_for(|welcome| *welcome != Welcome::Refuse).await.is_err() {
            return;
        }
        listener = loop {
            if let Ok(found) = held.and_then(|socket| socket.listen(BACKLOG)) {
                break found;
            }
            sleep(PAUSE).await;
            held = hold(address);
        };
    }
}

/// One connection, from its beginning to its end.
async fn carry(mut client: TcpStream, number: u64, welcome: Welcome, shared: Arc<Shared>) {
    let mut orders = shared.orders.subscribe();
    shared.open.fetch_add(1, Ordering::Relaxed);
    if welcome == Welcome::Silence {
        let mut sink = tokio::io::sink();
        let end = tokio::select! {
            end = ended_unless(&mut orders, number, None) => end,
            _ = tokio::io::copy(&mut client, &mut sink) => End::Close,
        };
        finish(&client, end);
    } else if let Ok(server) = TcpStream::connect(shared.upstream).await {
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        between(client, server, number, &shared, &mut orders).await;
    }
    shared.open.fetch_sub(1, Ordering::Relaxed);
}

async fn between(
    mut client: TcpStream,
    mut server: TcpStream,
    number: u64,
    shared: &Shared,
    orders: &mut watch::Receiver<Orders>,
) {
    let end = {
        let (from_client, mut to_client) = client.split();
        let (from_server, mut to_server) = server.split();
        let up = pump(from_client, &mut to_server, orders.clone(), |it| it.up, &shared.up);
        let down = pump(from_server, &mut to_client, orders.clone(), |it| it.down, &shared.down);
        tokio::select! {
            biased;
            end = ended_unless(orders, number, None) => end,
            end = both(up, down) => end,
        }
    };
    match end {
        End::HalfClose(side) => half(client, server, side, number, shared, orders).await,
        End::Orphan => {
            finish(&client, End::Reset);
            drop(client);
            let last = ended_unless(orders, number, Some(End::Orphan)).await;
            finish(&server, last);
        }
        end => {
            finish(&client, end);
            finish(&server, end);
        }
    }
}

/// Both directions, until both have ended in an orderly way or one has not.
async fn both(up: impl Future<Output = Ended>, down: impl Future<Output = Ended>) -> End {
    let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
    let (first, rest) = tokio::select! {
        first = &mut up => (first, Side::Down),
        first = &mut down => (first, Side::Up),
    };
    match (first, rest) {
        (Ended::Failed, _) => End::Reset,
        (Ended::Closed, Side::Up) => up.await.into(),
        (Ended::Closed, Side::Down) => down.await.into(),
    }
}

impl From<Ended> for End {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Closed => Self::Close,
            Ended::Failed => Self::Reset,
        }
    }
}

/// One direction has ended, the other goes on until the next order.
async fn half(
    mut client: TcpStream,
    mut server: TcpStream,
    side: Side,
    number: u64,
    shared: &Shared,
    orders: &mut watch::Receiver<Orders>,
) {
    let other = orders.clone();
    let next = {
        let (from_client, mut to_client) = client.split();
        let (from_server, mut to_server) = server.split();
        let next = ended_unless(orders, number, Some(End::HalfClose(side)));
        match side {
            Side::Up => {
                let _ = to_server.shutdown().await;
                let rest = pump(from_server, &mut to_client, other, |it| it.down, &shared.down);
                tokio::select! { end = next => end, rest = rest => rest.into() }
            }
            Side::Down => {
                let _ = to_client.shutdown().await;
                let rest = pump(from_client, &mut to_server, other, |it| it.up, &shared.up);
                tokio::select! { end = next => end, rest = rest => rest.into() }
            }
        }
    };
    finish(&client, next);
    finish(&server, next);
}

/// Waits for an order to end that concerns this connection, other than the one that has been followed already.
async fn ended_unless(orders: &mut watch::Receiver<Orders>, number: u64, followed: Option<End>) -> End {
    let concerns = |orders: &Orders| match orders.end {
        Some((end, last)) if number <= last && Some(end) != followed => Some(end),
        _ => None,
    };
    match orders.wait_for(|orders| concerns(orders).is_some()).await {
        Ok(orders) => concerns(&orders).unwrap_or(End::Close),
        Err(_) => End::Reset, // the proxy is gone
    }
}

fn finish(stream: &TcpStream, end: End) {
    if end == End::Reset {
        let _ = stream.set_zero_linger();
    }
}
