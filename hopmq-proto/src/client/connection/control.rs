use alloc::boxed::Box;
use alloc::sync::Arc;

use super::CommandError;
use super::calls::{Calls, Expects};
use super::core::{Core, Timer};
use crate::Instant;
use crate::amqp::{Method, connection};
use crate::client::{CallError, CloseReason, Event, PeerMisbehaved, Reply, Token};

/// The calls on channel 0: updates of the secret.
#[derive(Debug, Default)]
pub(super) struct Control {
    calls: Calls,
}

impl Control {
    pub(super) fn update_secret(
        &mut self,
        core: &mut Core,
        update: connection::UpdateSecret,
        now: Instant,
    ) -> Result<Token, CommandError> {
        if self.calls.len() >= core.config.max_calls {
            return Err(CommandError::TooManyCalls);
        }
        core.send(0, &update.into(), now)?;
        let token = core.token();
        let due = now + core.config.call_timeout;
        self.calls.push(Some(token), Expects::Method((10, 71)), due, None);
        if !core.deadlines.is_set(Timer::Call(0)) {
            core.deadlines.set(Timer::Call(0), due);
        }
        Ok(token)
    }

    /// Takes a method that is no close and no alarm: an answer, or what may not come.
    pub(super) fn on_method(&mut self, core: &mut Core, method: Method) -> Result<(), PeerMisbehaved> {
        let Some(call) = self.calls.answered_by(&method) else {
            return Err(PeerMisbehaved::UnexpectedMethod { method: method.name(), channel: 0 });
        };
        if let Some(token) = call.token {
            core.emit(Event::Reply { token, result: Ok(Reply::Method(Box::new(method))) });
        }
        core.deadlines.clear(Timer::Call(0));
        self.watch(core);
        Ok(())
    }

    pub(super) fn on_call_due(&mut self, core: &mut Core, now: Instant) {
        while let Some(token) = self.calls.pop_due(now) {
            core.emit(Event::Reply { token, result: Err(CallError::TimedOut) });
        }
        self.watch(core);
    }

    fn watch(&self, core: &mut Core) {
        if let Some(due) = self.calls.next_due() {
            core.deadlines.set(Timer::Call(0), due);
        }
    }

    /// Resolves what waits, for the connection has ended.
    pub(super) fn end(&mut self, core: &mut Core, reason: &Arc<CloseReason>) {
        core.deadlines.clear(Timer::Call(0));
        for token in self.calls.drain() {
            core.emit(Event::Reply { token, result: Err(CallError::Closed(reason.clone())) });
        }
    }
}
