//! One client: its connection, whichever it is at the moment, and what several of its programs need.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hopmq_sim::{
    Broker, Channel, CloseReason, Config, ConnectError, Connection, ConnectionEvent, Error, Host, Random,
    RecoveryMode, Refused, Sim,
};

use super::ledger::Ledger;
use super::mangler::MangledDialer;
use super::phase::{Phase, Phases};
use super::plan::{ClientPlan, Plan};
use crate::chaos::history::QueueKind;

/// What everybody in a world knows.
pub(super) struct Shared {
    pub(super) sim: Sim,
    pub(super) seed: u64,
    pub(super) plan: Plan,
    pub(super) broker: Broker,
    pub(super) ledger: Ledger,
    pub(super) phases: Phases,
}

/// Before what has failed is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// A client on its host, from a start of the host to its end.
pub(super) struct Client {
    pub(super) shared: Arc<Shared>,
    pub(super) host: Host,
    pub(super) number: usize,
    slot: Mutex<Slot>,
    /// How often a connection was lost, or closed.
    losses: AtomicU64,
}

#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    is_connecting: bool,
    /// How many there have been.
    made: u64,
}

impl Client {
    pub(super) fn new(shared: Arc<Shared>, host: Host, number: usize) -> Arc<Self> {
        Arc::new(Self { shared, host, number, slot: Mutex::default(), losses: AtomicU64::new(0) })
    }

    pub(super) fn plan(&self) -> &ClientPlan {
        &self.shared.plan.clients[self.number]
    }

    pub(super) fn config(&self) -> &Config {
        &self.plan().options.config
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    pub(super) fn phase(&self) -> Phase {
        self.shared.phases.now()
    }

    pub(super) fn random(&self) -> Random {
        self.shared.sim.random()
    }

    fn slot<T>(&self, work: impl FnOnce(&mut Slot) -> T) -> T {
        work(&mut self.slot.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The connection that there is, without waiting for one.
    pub(super) fn current(&self) -> Option<Connection> {
        self.slot(|slot| slot.connection.clone())
    }

    /// The connection, a new one if the last has ended; none when there is to be no other.
    pub(super) async fn connection(self: &Arc<Self>) -> Option<Connection> {
        loop {
            if self.phase() >= Phase::Closing {
                return None;
            }
            if let Some(connection) = self.current().filter(|it| it.close_reason().is_none()) {
                return Some(connection);
            }
            if self.slot(|slot| std::mem::replace(&mut slot.is_connecting, true)) {
                self.host.sleep(PAUSE).await;
                continue;
            }
            let connected = self.connect().await;
            self.slot(|slot| {
                slot.is_connecting = false;
                slot.made += u64::from(connected.is_some());
                slot.connection = connected;
            });
        }
    }

    async fn connect(self: &Arc<Self>) -> Option<Connection> {
        let ledger = self.ledger();
        let connecting = self.dial();
        // One that goes on for ever ends with the phases; it must be back by then.
        let result = if self.plan().mode == RecoveryMode::Always {
            ledger.track("connect", connecting).await
        } else {
            ledger.within(self.config().connect_timeout, "connect", connecting).await
        };
        match result {
            Ok(connection) => {
                ledger.count(|tally| tally.connected += 1);
                drop(self.host.spawn(listen(self.clone(), connection.clone())));
                Some(connection)
            }
            Err(error) => {
                if let Some(reason) = error.close_reason() {
                    ledger.inspect(reason);
                }
                self.host.sleep(PAUSE).await;
                None
            }
        }
    }

    async fn dial(self: &Arc<Self>) -> Result<Connection, ConnectError> {
        let (host, options) = (&self.host, self.plan().options.clone());
        match self.plan().habits {
            None => host.connect_with(options).await,
            Some(habits) => {
                let dialer = MangledDialer::new(self.clone(), habits);
                Connection::connect(host, dialer, options).await
            }
        }
    }

    /// Whose messages its connections carry.
    fn publishers(&self) -> impl Iterator<Item = usize> + '_ {
        let publishers = self.shared.plan.publishers.iter().enumerate();
        publishers.filter(|(_, publisher)| publisher.client == self.number).map(|(number, _)| number)
    }

    /// The number of its connection, which keeps it when it comes back.
    pub(super) fn made(&self) -> u64 {
        self.slot(|slot| slot.made)
    }

    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    pub(super) fn is_lost(&self) {
        self.losses.fetch_add(1, Ordering::Relaxed);
        self.ledger().lost(self.publishers());
    }

    /// A call that ends within the client's deadline for calls.
    pub(super) async fn call<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let result = self.ledger().within(self.config().call_timeout, what, call).await;
        if let Err(error) = &result {
            self.failed(error);
        }
        result
    }

    pub(super) fn failed(&self, error: &Error) {
        if let Some(reason) = error.close_reason() {
            if matches!(reason, CloseReason::Server(_)) {
                self.ledger().count(|tally| tally.channel_errors += 1);
            }
            self.ledger().inspect(reason);
        }
    }

    /// Waits a moment after something has failed.
    pub(super) async fn pause(&self) {
        self.host.sleep(PAUSE).await;
    }

    /// Waits for up to so many milliseconds, unless the phase begins.
    pub(super) async fn dawdle(&self, random: &mut Random, millis: u64, unless: Phase) {
        let pause = Duration::from_micros(random.below(millis.max(1) * 1000));
        self.shared.phases.unless(unless, self.host.sleep(pause)).await;
    }

    /// A channel on which a queue and what it is bound by are there, as far as this client may make them; and the
    /// queue's name.
    pub(super) async fn set_up(
        &self,
        connection: &Connection,
        queue: usize,
        is_consumer: bool,
    ) -> Result<(Channel, String), Error> {
        let plan = &self.shared.plan.queues[queue];
        let since = self.ledger().now();
        let channel = self.call("open channel", connection.open_channel()).await?;
        let mut name = plan.name.clone();
        // Before what is bound, so that a recovery makes them in this order too.
        if let Some((exchange, kind, _)) = plan.binding(queue) {
            self.call("declare exchange", channel.declare_exchange(exchange, &kind).durable().into_future())
                .await?;
        }
        if plan.kind == QueueKind::Durable {
            self.call("declare queue", channel.declare_queue(&name).durable().into_future()).await?;
        } else if is_consumer {
            let declare = channel.declare_queue(&name).exclusive().into_future();
            let declared = self.call("declare queue", declare).await?;
            declared.name().clone_into(&mut name);
        } else {
            return Ok((channel, name));
        }
        if let Some((exchange, _, key)) = plan.binding(queue) {
            self.call("bind queue", channel.bind_queue(&name, exchange, &key)).await?;
        }
        self.ledger().there_again(queue, since);
        Ok((channel, name))
    }
}

/// Hears of everything that happens to a connection.
async fn listen(client: Arc<Client>, connection: Connection) {
    let mut events = connection.events();
    drop(connection);
    while let Some(event) = events.next().await {
        let ledger = client.ledger();
        ledger.note(format!("client {}: {event:?}", client.number));
        match event {
            ConnectionEvent::Lost { reason } => {
                client.is_lost();
                ledger.inspect(&reason);
                ledger.count(|tally| tally.lost += 1);
            }
            ConnectionEvent::Recovered { .. } => ledger.count(|tally| tally.recovered += 1),
            ConnectionEvent::AttemptFailed { reason, .. } => {
                ledger.inspect(&reason);
                ledger.count(|tally| tally.failed_attempts += 1);
            }
            // Four times in a row the broker has said nothing at all: it is declared anew, on another connection.
            ConnectionEvent::Degraded { reason: Refused::Unanswered, .. } => {
                ledger.count(|tally| tally.aborted += 1);
                client.current().inspect(Connection::abort);
            }
            ConnectionEvent::QueueRenamed { .. } => ledger.count(|tally| tally.renamed += 1),
            ConnectionEvent::Closed(reason) => {
                client.is_lost();
                ledger.inspect(&reason);
                ledger.count(|tally| tally.gave_up += u64::from(*reason != CloseReason::Requested));
            }
            _ => {}
        }
    }
}
