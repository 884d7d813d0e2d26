use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hopmq::io::{Dialer, Runtime};
use hopmq::{BrokerConfig, ConnectError, ConnectOptions, Connection, Disk, Endpoint, Instant};

use crate::broker::Broker;
use crate::network::dial::dial;
use crate::network::{Death, Dials, HostId, Link, Listener, Stream};
use crate::tasks::JoinHandle;
use crate::timers::{Elapsed, SimClock, SimTimer, Sleep, timeout};
use crate::trace::What;
use crate::wakers::Wakers;
use crate::world::{State, World};

/// A machine of a [`Sim`](crate::Sim): tasks run on it, and it sends and receives by its name. It is a [`Runtime`] and a
/// [`Dialer`], so that whatever runs on an adapter runs on it.
///
/// Cloning it gives another handle to the same host. It need not be up: what is asked of a host that is down fails as a
/// machine without power does, and what is spawned there is dropped.
///
/// What concerns a connection, a [cut](Self::cut) or a [partition](Self::partition), concerns only those between these two hosts. A host
/// can be its own peer: then it is about its loopback.
#[derive(Clone)]
pub struct Host {
    world: Arc<World>,
    id: HostId,
}

/// Makes what a host runs.
type Factory = dyn Fn(Host) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// What runs on a host, and again when it comes back.
#[derive(Clone)]
pub(crate) enum Program {
    Factory(Arc<Factory>, &'static Location<'static>),
    Broker(hopmq::Broker<Host>),
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Factory(_, at) => write!(f, "Factory({at})"),
            Self::Broker(broker) => fmt::Debug::fmt(broker, f),
        }
    }
}

impl Host {
    pub(crate) fn named(world: &Arc<World>, name: &str) -> Self {
        let mut state = world.lock();
        let id = state.network.find(name);
        let id = id.unwrap_or_else(|| {
            state.trace.name(name);
            state.network.add(name)
        });
        Self { world: world.clone(), id }
    }

    pub(crate) const fn id(&self) -> HostId {
        self.id
    }

    /// Its name, which others connect to.
    #[must_use]
    pub fn name(&self) -> String {
        self.world.lock().network.name(self.id).to_owned()
    }

    /// Whether it runs: not after a [crash](Self::crash) or when it was [killed](Self::kill), until it [restarts](Self::restart).
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.world.lock().network.is_up(self.id)
    }

    /// How many tasks run here: what was [spawned](Self::spawn) or [started](Self::start) and has not ended, connections among it.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.world.lock().tasks.list().filter(|(host, _)| *host == self.id).count()
    }

    /// The time since the world began. All hosts have the same.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.world.now()
    }

    /// Waits for this long.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(&self.world, duration)
    }

    /// Waits for `future`, for `duration` at most.
    ///
    /// # Errors
    ///
    /// When it took longer; the future is dropped.
    pub async fn timeout<F: Future>(&self, duration: Duration, future: F) -> Result<F::Output, Elapsed> {
        timeout(&self.world, duration, future).await
    }

    /// Runs `future` here, until it is ready or the host goes down.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.world.spawn_joinable(self.id, future, Location::caller())
    }

    /// Runs a program here: the future that `program` makes, now and anew after each [restart](Self::restart).
    ///
    /// What it has in memory goes with a crash. What is to outlive it, as a database does, belongs outside of `program`.
    ///
    /// What a task of this very host starts is a task of that life, which ends with it: who started it starts it again.
    #[track_caller]
    pub fn start<F>(&self, program: impl Fn(Self) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let program = move |host| -> Pin<Box<dyn Future<Output = ()> + Send>> { Box::pin(program(host)) };
        self.launch(Program::Factory(Arc::new(program), Location::caller()));
    }

    /// Starts a broker here, on port 5672: `amqp://` and the host's name is its URI, and guest may log in from every host.
    /// It runs until the host goes down or the world is over, and again after each [restart](Self::restart), also when it was
    /// [shut down](hopmq::Broker::shutdown). Where that one was shut down and another is started, that one does not come back.
    ///
    /// A broker that is started by a task of this very host ends with that life, and its disk too.
    ///
    /// # Errors
    ///
    /// When the port is in use, or the host is down.
    pub fn broker(&self, config: BrokerConfig) -> io::Result<Broker> {
        let listener = self.listen(Broker::PORT)?;
        let broker = hopmq::Broker::new(self.clone(), config);
        broker.serve(listener);
        if !self.world.is_within(self.id) {
            let mut state = self.world.lock();
            let former = state.network.take_brokers(self.id);
            state.network.add_program(self.id, Program::Broker(broker.clone()));
            drop(state);
            drop(former);
        }
        Ok(Broker::new(self.clone(), broker))
    }

    fn launch(&self, program: Program) {
        self.run(&program);
        if !self.world.is_within(self.id) {
            self.world.lock().network.add_program(self.id, program);
        }
    }

    fn run(&self, program: &Program) {
        match program {
            Program::Factory(factory, at) => {
                let (factory, host) = (factory.clone(), self.clone());
                // Made by the task, so that what is started meanwhile is its own.
                self.world.spawn(self.id, Box::pin(async move { factory(host).await }), at);
            }
            Program::Broker(broker) => match self.listen(Broker::PORT) {
                Ok(listener) => broker.serve(listener),
                Err(_) => {
                    self.happens("has no broker: its port is in use", |_, _, _, _| true);
                }
            },
        }
    }

    /// Connects from here to the broker at `uri`; the host in it is the name of one of this world.
    ///
    /// # Errors
    ///
    /// When the URI is wrong, or there is no connection within `connection_timeout` (10 s where the URI does not say),
    /// or the host is down.
    pub async fn connect(&self, uri: &str) -> Result<Connection, ConnectError> {
        self.connect_with(uri.parse()?).await
    }

    /// Connects from here as `options` say.
    ///
    /// # Errors
    ///
    /// When there is no connection within `connect_timeout`, or the host is down.
    pub async fn connect_with(&self, options: ConnectOptions) -> Result<Connection, ConnectError> {
        if !self.is_up()
            && let Some(endpoint) = options.endpoints().into_iter().next()
        {
            let error = self.world.lock().network.is_down(self.id);
            return Err(ConnectError::Dial { endpoint, error });
        }
        Connection::connect(self, self.clone(), options).await
    }

    /// Accepts connections on a port.
    ///
    /// # Errors
    ///
    /// When the port is in use, or the host is down.
    pub fn listen(&self, port: u16) -> io::Result<Listener> {
        Listener::new(&self.world, self.id, port)
    }

    /// Opens a stream to a port of the host with this name, in upper or lower case. `localhost` and the addresses `127.0.0.1` and
    /// `::1` are this one. It waits, as a kernel would for a while, for a host that cannot be reached, and for one where 128
    /// connections wait to be accepted.
    ///
    /// # Errors
    ///
    /// When nobody has that name, nobody listens there, or this host is down.
    pub async fn dial(&self, name: &str, port: u16) -> io::Result<Stream> {
        dial(&self.world, self.id, name, port).await
    }

    /// The power goes. Nothing that runs here is polled again, nothing is flushed, and connections are cut at any byte of what
    /// was under way from here; what had arrived at others can be read there. They hear nothing of it until the host is back and
    /// gets something of a connection that it does not know any more, which it answers with a reset: what was sent to it and had not arrived
    /// is such, as it is sent again; what had arrived and was not read is not. A host that is down stays so.
    pub fn crash(&self) {
        self.go_down(Death::Silent, "crashes");
    }

    /// The same, but the kernel lives on: it closes the connections, so that what was written arrives and then their end, refuses
    /// dials, and answers with a reset what still comes. A [crash](Self::crash) ends that, too.
    pub fn kill(&self) {
        self.go_down(Death::Closed, "is killed");
    }

    fn go_down(&self, death: Death, how: &'static str) {
        let has_happened = self.happens(how, |id, state, now, wakers| {
            state.network.bring_down(id, death, &mut state.timers, now, wakers)
        });
        if !has_happened {
            return;
        }
        // First what it had on its disk: what its tasks do when they are dropped never came to that.
        self.brokers().iter().for_each(|broker| broker.crash(Disk::Kept));
        let tasks = self.world.lock().tasks.take(|host| host == self.id);
        drop(tasks);
    }

    /// Its disk is empty: brokers come back without queues and messages. [Crashes](Self::crash) the host if it is up.
    pub fn wipe(&self) {
        self.crash();
        self.happens("loses its disk", |_, _, _, _| true);
        self.brokers().iter().for_each(|broker| broker.crash(Disk::Lost));
    }

    /// The brokers that were started here from outside, whether they run or not.
    pub(crate) fn brokers(&self) -> Vec<hopmq::Broker<Self>> {
        let programs = self.world.lock().network.programs(self.id);
        let broker = |program| match program {
            Program::Broker(broker) => Some(broker),
            Program::Factory(..) => None,
        };
        programs.into_iter().filter_map(broker).collect()
    }

    /// Has the brokers here do something that RabbitMQ does by itself, while the host is up.
    pub(crate) fn have_brokers(&self, does: &'static str, work: impl FnMut(&hopmq::Broker<Self>)) {
        if !self.is_up() {
            return;
        }
        let brokers = self.brokers();
        assert!(!brokers.is_empty(), "no broker was started on {} from outside, so none {does}", self.name());
        self.happens(does, |_, _, _, _| true);
        brokers.iter().for_each(work);
    }

    /// Comes back after a crash: what was [started](Self::start) here runs anew, brokers with what they had on their disk. A host that is
    /// up goes on.
    pub fn restart(&self) {
        let has_happened = self.happens("restarts", |id, state, now, wakers| {
            state.network.bring_up(id, &mut state.timers, now, wakers)
        });
        if has_happened {
            let programs = self.world.lock().network.programs(self.id);
            programs.iter().for_each(|program| self.run(program));
        }
    }

    /// Nothing runs here until it [thaws](Self::thaw), as when a virtual machine is paused; its kernel still takes what comes.
    pub fn freeze(&self) {
        self.happens("freezes", |id, state, _, _| state.network.set_frozen(id, true));
    }

    /// What runs here goes on.
    pub fn thaw(&self) {
        self.happens("thaws", |id, state, _, _| state.network.set_frozen(id, false));
        self.world.unpark();
    }

    /// Makes the network between here and `peer` like this, in both directions: for what is sent from now on, and for what waits to be
    /// sent. What is on its way arrives when it would have, and what is behind it not before.
    pub fn set_link(&self, peer: &Self, link: Link) {
        self.set_link_to(peer, link);
        peer.set_link_to(self, link);
    }

    /// Makes the network from here to `peer` like this; the way back stays as it is.
    pub fn set_link_to(&self, peer: &Self, link: Link) {
        self.happens_between(peer, "has another link", |[from, to], state, now, wakers| {
            state.network.set_link(from, to, link, &mut state.timers, now, wakers)
        });
    }

    /// What the network from here to `peer` is like.
    #[must_use]
    pub fn link_to(&self, peer: &Self) -> Link {
        self.world.lock().network.link(self.id, peer.id)
    }

    /// The connections with `peer` break, at any byte of what is under way, and both sides are told. What had arrived can be read.
    pub fn cut(&self, peer: &Self) {
        self.happens_between(peer, "cut", |[a, b], state, now, wakers| {
            state.network.cut(a, b, &mut state.timers, now, wakers);
            true
        });
    }

    /// The connections with `peer` are gone for this host, and `peer` is not told: for it they are half open, and what it sends
    /// vanishes.
    pub fn lose(&self, peer: &Self) {
        self.happens_between(peer, "half open", |[a, b], state, now, wakers| {
            state.network.lose(a, b, &mut state.timers, now, wakers);
            true
        });
    }

    /// Nothing gets through between here and `peer`, in either direction, until it [heals](Self::heal). What is sent
    /// waits: connections survive a partition, unless somebody gives them up.
    pub fn partition(&self, peer: &Self) {
        self.partition_to(peer);
        peer.partition_to(self);
    }

    /// Nothing gets through from here to `peer`; the other direction is as it was, acknowledgements of its bytes included.
    pub fn partition_to(&self, peer: &Self) {
        self.happens_between(peer, "partition", |[from, to], state, now, _| {
            state.network.partition(from, to, now)
        });
    }

    /// Ends a partition, in both directions: what was held is sent.
    pub fn heal(&self, peer: &Self) {
        for (from, to) in [(self, peer), (peer, self)] {
            from.happens_between(to, "heal", |[from, to], state, now, wakers| {
                state.network.heal(from, to, &mut state.timers, now, wakers)
            });
        }
    }

    /// What is dialled from here to `peer` is refused, as if nobody listened there.
    pub fn refuse_dials(&self, peer: &Self) {
        self.set_dials(peer, "dials are refused", Dials::Refused);
    }

    /// What is dialled from here to `peer` is never answered, as by a firewall that drops.
    pub fn swallow_dials(&self, peer: &Self) {
        self.set_dials(peer, "dials are swallowed", Dials::Swallowed);
    }

    /// What is dialled from here to `peer` is answered again.
    pub fn answer_dials(&self, peer: &Self) {
        self.set_dials(peer, "dials are answered", Dials::Answered);
    }

    fn set_dials(&self, peer: &Self, is: &'static str, dials: Dials) {
        self.happens_between(peer, is, |[from, to], state, _, wakers| {
            state.network.set_dials(from, to, dials, wakers)
        });
    }

    /// Does something to this host, which says whether it has changed anything: only that is in the trace.
    fn happens(
        &self,
        is: &'static str,
        work: impl FnOnce(HostId, &mut State, Instant, &mut Wakers) -> bool,
    ) -> bool {
        self.does(What::Host { host: self.id, is }, |state, now, wakers| work(self.id, state, now, wakers))
    }

    fn happens_between(
        &self,
        peer: &Self,
        is: &'static str,
        work: impl FnOnce([HostId; 2], &mut State, Instant, &mut Wakers) -> bool,
    ) {
        let what = What::Between { from: self.id, to: peer.id, is };
        self.does(what, |state, now, wakers| work([self.id, peer.id], state, now, wakers));
    }

    fn does(&self, what: What, work: impl FnOnce(&mut State, Instant, &mut Wakers) -> bool) -> bool {
        let (now, mut wakers) = (self.world.now(), Wakers::default());
        let has_happened = {
            let state = &mut *self.world.lock();
            let has_happened = work(state, now, &mut wakers);
            if has_happened {
                state.trace.add(now, what);
            }
            has_happened
        };
        wakers.release();
        has_happened
    }
}

impl Runtime for Host {
    type Clock = SimClock;
    type Timer = SimTimer;

    fn clock(&self) -> SimClock {
        self.world.clock.clone()
    }

    fn timer(&self) -> SimTimer {
        self.world.timer()
    }

    #[track_caller]
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.world.spawn(self.id, Box::pin(future), Location::caller());
    }

    fn seed(&self) -> u64 {
        self.world.lock().seeds.next_u64()
    }
}

impl Dialer for Host {
    type Transport = Stream;

    async fn dial(&self, endpoint: &Endpoint) -> io::Result<Stream> {
        dial(&self.world, self.id, &endpoint.host, endpoint.port).await
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("name", &self.name()).finish_non_exhaustive()
    }
}
