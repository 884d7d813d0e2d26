use std::sync::Arc;
use std::task::Waker;

use hopmq_proto::{Engine as _, Instant, Outbox, Want};

use super::shared::{Shared, State};
use crate::driver::{Host, Input, Pass, run_engine};

/// The end of [`Shared`] that its driver has, and whoever opens the next transport.
pub(crate) struct ClientHost {
    shared: Arc<Shared>,
    /// Woken after the lock is released; kept for its capacity.
    woken: Vec<Waker>,
}

impl ClientHost {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, woken: Vec::new() }
    }

    /// A pass while there is nothing to read from and to write to.
    pub(super) fn pass_without_transport(&mut self, waker: &Waker, now: Instant) -> Pass {
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        let pass = loop {
            state.hand_out_events(&mut self.woken, now);
            match state.engine.poll_timeout() {
                Some(deadline) if deadline <= now => state.engine.handle_timeout(now),
                deadline => break Pass { want: state.engine.want(), deadline },
            }
        };
        let pass = state.end_pass(pass, waker, &mut self.woken, now);
        let counts = state.counts.take();
        drop(guard);
        self.shared.meter.flush(&counts);
        self.wake_all();
        pass
    }

    fn wake_all(&mut self) {
        self.woken.drain(..).for_each(Waker::wake);
    }
}

impl Host for ClientHost {
    fn pass(&mut self, waker: &Waker, input: Input<'_>, wire: &mut Outbox, now: Instant) -> Pass {
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        match input {
            Input::Bytes(input) => {
                let len = input.len();
                state.engine.handle_input(input, now);
                state.counts.on_input(len - input.len());
            }
            Input::Eof => state.engine.handle_eof(now),
            Input::Failed(error) => state.engine.handle_transport_error(error.to_string(), now),
        }
        let unwritten = wire.len();
        let pass = run_engine(
            state,
            |state| &mut state.engine,
            wire,
            now,
            |state, event| state.on_event(event, &mut self.woken, now),
        );
        let waiting = wire.len() + state.engine.outbox().len();
        state.counts.on_output(wire.len() - unwritten, waiting);
        let pass = state.end_pass(pass, waker, &mut self.woken, now);
        let counts = state.counts.take();
        drop(guard);
        self.shared.meter.flush(&counts);
        self.wake_all();
        pass
    }

    fn ended(&mut self, now: Instant) {
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        if state.engine.want() != Want::Shutdown {
            state.engine.handle_transport_error("its task was dropped".to_owned(), now);
        }
        state.engine.handle_disconnected(now);
        state.hand_out_events(&mut self.woken, now);
        let driver = state.driver.take(); // or it would hold on to a task that is no more
        state.counts.on_output(0, 0);
        state.counts.on_kept(state.engine.unconfirmed_bytes());
        let counts = state.counts.take();
        drop(guard);
        drop(driver);
        self.shared.meter.flush(&counts);
        self.wake_all();
    }
}

impl State {
    fn hand_out_events(&mut self, woken: &mut Vec<Waker>, now: Instant) {
        while let Some(event) = self.engine.poll_event() {
            self.on_event(event, woken, now);
        }
    }

    /// Wakes those whose time is over, and puts the time of the next one into the pass.
    fn end_pass(&mut self, mut pass: Pass, waker: &Waker, woken: &mut Vec<Waker>, now: Instant) -> Pass {
        self.counts.on_kept(self.engine.unconfirmed_bytes());
        self.room.wake_due(now, woken);
        self.deadlines.wake_due(now, woken);
        if pass.want != Want::Shutdown {
            let waiting = self.room.next_due().into_iter().chain(self.deadlines.next_due());
            pass.deadline = pass.deadline.into_iter().chain(waiting).min();
        }
        self.stale.extend(self.driver.replace(waker.clone()));
        pass
    }
}

/// What runs a connection. When it is dropped before the connection has ended, nobody would ever end it.
pub(super) struct Owner {
    host: ClientHost,
}

impl Owner {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { host: ClientHost::new(shared.clone()) }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let ClientHost { shared, woken } = &mut self.host;
        let now = shared.now();
        let mut guard = shared.lock();
        let state = &mut *guard;
        state.engine.handle_abandoned("its task was dropped".to_owned(), now);
        state.hand_out_events(woken, now);
        state.counts.on_kept(state.engine.unconfirmed_bytes());
        let driver = state.driver.take();
        let counts = state.counts.take();
        drop(guard);
        drop(driver);
        shared.meter.flush(&counts);
        self.host.wake_all();
    }
}
