use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use hopmq_proto::broker::{self as proto, ConnectionId};
use hopmq_proto::{Engine as _, Instant, Outbox, Want};

use crate::driver::{Host, Input, Pass, run_engine};
use crate::io::Runtime;

/// The broker's engine, as its connections' drivers and its handles share it.
///
/// The lock is held for a pass of one driver or for a look, never across a syscall or an await.
pub(super) struct Shared {
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) engine: proto::Broker,
    /// Wakes the driver of each connection.
    drivers: BTreeMap<ConnectionId, Waker>,
    /// Listeners and whoever waits for the end of a shutdown.
    pub(super) watchers: Vec<Waker>,
    /// No connection is accepted any more.
    pub(super) is_shut_down: bool,
    /// How often it was shut down: a listener of an earlier life ends.
    pub(super) life: u64,
}

impl Shared {
    pub(super) fn new(mut config: proto::Config, runtime: &impl Runtime) -> Arc<Self> {
        if config.seed == 0 {
            config.seed = runtime.seed();
        }
        let state = State {
            engine: proto::Broker::new(config),
            drivers: BTreeMap::new(),
            watchers: Vec::new(),
            is_shut_down: false,
            life: 0,
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes every connection, and accepts no more.
    pub(super) fn shutdown(&self, now: Instant) {
        let mut state = self.lock();
        state.is_shut_down = true;
        state.life += 1;
        state.engine.shutdown(now);
        let mut woken = std::mem::take(&mut state.watchers);
        state.collect_touched(&mut woken);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Changes something that concerns connections, and wakes those that it does.
    pub(super) fn change(&self, change: impl FnOnce(&mut proto::Broker)) {
        let mut woken = Vec::new();
        let mut state = self.lock();
        change(&mut state.engine);
        state.collect_touched(&mut woken);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Loses every connection, and what is not on the disk.
    pub(super) fn crash(&self, disk: proto::Disk) {
        let mut state = self.lock();
        state.engine.crash(disk);
        let orphans: Vec<Waker> = state.drivers.values().chain(&state.watchers).cloned().collect();
        drop(state);
        orphans.into_iter().for_each(Waker::wake);
    }
}

impl State {
    /// The drivers of the connections that have something to do because of another's call.
    fn collect_touched(&mut self, woken: &mut Vec<Waker>) {
        while let Some(id) = self.engine.poll_touched() {
            woken.extend(self.drivers.get(&id).cloned());
        }
    }
}

/// One connection's end of [`Shared`].
pub(super) struct BrokerHost {
    shared: Arc<Shared>,
    id: ConnectionId,
    /// Woken after the lock is released; kept for its capacity.
    woken: Vec<Waker>,
}

impl BrokerHost {
    pub(super) fn new(shared: Arc<Shared>, id: ConnectionId) -> Self {
        Self { shared, id, woken: Vec::new() }
    }
}

impl Host for BrokerHost {
    fn pass(&mut self, waker: &Waker, input: Input<'_>, wire: &mut Outbox, now: Instant) -> Pass {
        let _stale: Option<Waker>; // dropped after the lock is released, as that may drop a task
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        _stale = match state.drivers.get(&self.id) {
            Some(kept) if kept.will_wake(waker) => None,
            _ => state.drivers.insert(self.id, waker.clone()),
        };
        let Some(mut connection) = state.engine.connection(self.id) else {
            return Pass { want: Want::Shutdown, deadline: None };
        };
        match input {
            Input::Bytes(input) => connection.handle_input(input, now),
            Input::Eof | Input::Failed(_) => connection.handle_eof(now),
        }
        // Nobody listens to the events of single connections.
        let pass = run_engine(&mut connection, |connection| connection, wire, now, |_, _| ());
        state.collect_touched(&mut self.woken);
        drop(guard);
        self.woken.drain(..).for_each(Waker::wake);
        pass
    }

    fn ended(&mut self, now: Instant) {
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        state.engine.release(self.id, now);
        let stale = state.drivers.remove(&self.id);
        state.collect_touched(&mut self.woken);
        self.woken.append(&mut state.watchers);
        drop(guard);
        drop(stale);
        self.woken.drain(..).for_each(Waker::wake);
    }
}
