use alloc::boxed::Box;
use alloc::sync::Arc;

use bytes::Bytes;

use super::confirms::Confirms;
use super::core::{Core, Timer};
use super::kept::Kept;
use super::returns::Fingerprint;
use super::{CommandError, PublishError};
use crate::Instant;
use crate::amqp::{Properties, Publish, basic, write_content, write_publish};
use crate::client::{
    CallError, ChannelId, CloseReason, ConfirmFailures, Confirmation, Event, PeerMisbehaved, Reply, Returned,
    Token, Unsent, WhenLost,
};

/// The publishes of one channel: whether there is room for another one, and what became of those before.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    /// `None` without `confirm.select`.
    confirms: Option<Confirms>,
    /// The server has asked for no content (`channel.flow`).
    stopped: bool,
    /// A commit is not answered.
    committing: bool,
    /// Publishes were refused, and one of them would be accepted with fewer than so many unconfirmed.
    refused_at: Option<usize>,
}

/// A message that is to be published.
#[derive(Debug, Clone, Copy)]
pub(in crate::client) struct Outgoing<'a> {
    pub(in crate::client) publish: &'a Publish<'a>,
    pub(in crate::client) properties: &'a Properties,
    pub(in crate::client) body: &'a Bytes,
    pub(in crate::client) when_lost: WhenLost,
}

/// What a server says of publishes: `basic.ack` or `basic.nack`.
#[derive(Debug)]
pub(super) struct Verdict {
    tag: u64,
    multiple: bool,
    acked: bool,
}

impl From<basic::Ack> for Verdict {
    fn from(ack: basic::Ack) -> Self {
        Self { tag: ack.delivery_tag, multiple: ack.multiple, acked: true }
    }
}

impl From<basic::Nack> for Verdict {
    fn from(nack: basic::Nack) -> Self {
        Self { tag: nack.delivery_tag, multiple: nack.multiple, acked: false }
    }
}

impl Publishing {
    /// `confirm.select` is sent: the server counts from here on.
    pub(super) fn start_confirms(&mut self) {
        self.confirms.get_or_insert_with(Confirms::new);
    }

    /// It is answered.
    pub(super) fn on_confirms_selected(&mut self) {
        if let Some(confirms) = &mut self.confirms {
            confirms.on_selected();
        }
    }

    pub(super) fn set_committing(&mut self, committing: bool) {
        self.committing = committing;
    }

    // Commands, on an open channel.

    pub(super) fn publish(
        &mut self,
        core: &mut Core,
        channel: u16,
        outgoing: Outgoing<'_>,
        now: Instant,
    ) -> Result<Option<Token>, PublishError> {
        if self.stopped || self.committing {
            self.refused_at = Some(usize::MAX);
            return Err(PublishError::Blocked);
        }
        self.check_room(core)?;
        if self.confirms.as_ref().is_some_and(Confirms::has_unsent) {
            return self.hold(core, outgoing, now);
        }
        let Outgoing { publish, properties, body, when_lost } = outgoing;
        let keeps = core.keeps && when_lost == WhenLost::Resend && self.confirms.is_some();
        let returnable = publish.mandatory && self.confirms.is_some();
        let (mut fingerprint, mut kept) = (None, None);
        let store = &mut core.kept;
        write_content(
            &mut core.outbox,
            channel,
            core.frame_max,
            |out| write_publish(out, publish),
            |out| {
                let start = out.len();
                properties.encode(out)?;
                let encoded = out.get(start..).unwrap_or_default();
                let Publish { exchange, routing_key, .. } = *publish;
                fingerprint = returnable.then(|| Fingerprint::of(exchange, routing_key, encoded, body));
                kept = keeps.then(|| store.keep(&outgoing, encoded, true));
                Ok(())
            },
            body,
        )
        .inspect_err(|_| {
            if let Some(kept) = kept.take() {
                store.release(kept, &mut core.outbox);
            }
        })?;
        core.touch(now);
        let Some(confirms) = &mut self.confirms else { return Ok(None) };
        let token = core.token();
        let is_first = confirms.next_sent_at().is_none();
        confirms.push(token, fingerprint, kept, now);
        if is_first && !core.deadlines.is_set(Timer::Confirm(channel)) {
            core.deadlines.set(Timer::Confirm(channel), now + core.config.confirm_timeout);
        }
        Ok(Some(token))
    }

    fn check_room(&mut self, core: &Core) -> Result<(), PublishError> {
        if self.confirms.as_ref().is_some_and(|confirms| confirms.len() >= core.config.max_unconfirmed) {
            self.refused_at = Some(usize::MAX);
            return Err(PublishError::Full);
        }
        Ok(())
    }

    /// Takes a publish that cannot be sent now, to be sent when the connection is back and everything before it is sent.
    pub(super) fn hold(
        &mut self,
        core: &mut Core,
        outgoing: Outgoing<'_>,
        now: Instant,
    ) -> Result<Option<Token>, PublishError> {
        let Outgoing { publish, properties, body: _, when_lost } = outgoing;
        self.check_room(core)?;
        let Some(confirms) = &mut self.confirms else {
            self.refused_at = Some(usize::MAX);
            return Err(PublishError::Blocked);
        };
        if when_lost == WhenLost::Fail {
            return Err(CommandError::Disconnected.into());
        }
        let encoded = core.check_content(publish, properties)?;
        let kept = core.kept.keep(&outgoing, &encoded, false);
        let token = core.token();
        confirms.push_unsent(token, kept, now);
        Ok(Some(token))
    }

    pub(super) fn check_unconfirmed(&mut self, limit: usize) -> Result<(), PublishError> {
        if self.confirms.as_ref().is_some_and(|confirms| confirms.unresolved() >= limit) {
            self.refused_at = self.refused_at.max(Some(limit));
            return Err(PublishError::Full);
        }
        Ok(())
    }

    pub(super) fn await_confirms(
        &mut self,
        core: &mut Core,
        channel: ChannelId,
    ) -> Result<Token, CommandError> {
        let waits = self.confirms.as_ref().map_or(0, Confirms::waits);
        if waits >= core.config.max_calls {
            return Err(CommandError::TooManyCalls);
        }
        let token = core.token();
        match &mut self.confirms {
            Some(confirms) => confirms.wait(token),
            None => {
                let nothing = Reply::Confirmed { channel, failures: ConfirmFailures::default() };
                core.emit(Event::Reply { token, result: Ok(nothing) });
            }
        }
        self.answer_waits(core, channel);
        Ok(token)
    }

    /// Nobody has heard of these failures.
    pub(super) fn untell(&mut self, failures: ConfirmFailures) {
        if let Some(confirms) = &mut self.confirms {
            confirms.untell(failures);
        }
    }

    pub(super) fn abandon(&mut self, token: Token) {
        if let Some(confirms) = &mut self.confirms {
            confirms.abandon(token);
        }
    }

    // What happens to them.

    pub(super) fn on_confirm(
        &mut self,
        core: &mut Core,
        id: ChannelId,
        verdict: &Verdict,
    ) -> Result<(), PeerMisbehaved> {
        let Verdict { tag, multiple, acked } = *verdict;
        let unknown = PeerMisbehaved::UnknownPublish { channel: id.number, tag };
        let Some(confirms) = &mut self.confirms else { return Err(unknown) };
        let resolve = |token, confirmation, kept: Option<Kept>| {
            core.release_kept(kept);
            core.emit(Event::Confirmed { token, result: Ok(confirmation) });
        };
        confirms.on_confirm(tag, multiple, acked, resolve).map_err(|_| unknown)?;
        self.answer_waits(core, id);
        self.make_writable(core);
        Ok(())
    }

    /// Attributes a return to its publish; gives it back when it is nobody's.
    pub(super) fn on_return(&mut self, returned: Box<Returned>) -> Option<Box<Returned>> {
        match &mut self.confirms {
            Some(confirms) => confirms.on_return(returned),
            None => Some(returned),
        }
    }

    pub(super) fn on_flow(&mut self, core: &mut Core, active: bool) {
        self.stopped = !active;
        self.make_writable(core);
    }

    pub(super) fn on_confirm_due(&mut self, core: &mut Core, id: ChannelId, now: Instant) {
        let timeout = core.config.confirm_timeout;
        let Some(confirms) = &mut self.confirms else { return };
        while let Some((token, kept)) = confirms.pop_due(timeout, now) {
            core.release_kept(kept);
            core.emit(Event::Confirmed { token, result: Err(CallError::TimedOut) });
        }
        if let Some(sent_at) = confirms.next_sent_at() {
            core.deadlines.set(Timer::Confirm(id.number), sent_at + timeout);
        }
        self.answer_waits(core, id);
        self.make_writable(core);
    }

    /// The channel has ended.
    pub(super) fn end(&mut self, core: &mut Core, reason: &Arc<CloseReason>) {
        let Some(confirms) = &mut self.confirms else { return };
        for (token, kept) in confirms.drain() {
            fail(core, token, kept, reason);
        }
        for token in confirms.drain_waits() {
            core.emit(Event::Reply { token, result: Err(CallError::Closed(reason.clone())) });
        }
    }

    /// The connection was lost. What will not be sent again fails.
    pub(super) fn on_lost(
        &mut self,
        core: &mut Core,
        id: ChannelId,
        reason: &Arc<CloseReason>,
        repeat: bool,
    ) {
        (self.stopped, self.committing) = (false, false);
        let Some(confirms) = &mut self.confirms else { return };
        for (token, kept) in confirms.on_lost(repeat) {
            fail(core, token, kept, reason);
        }
        self.answer_waits(core, id);
    }

    /// Whether confirms are on.
    pub(super) const fn has_confirms(&self) -> bool {
        self.confirms.is_some()
    }

    /// Sends what has been held, as far as there is room in the outbox. True when everything is sent.
    pub(super) fn send_held(&mut self, core: &mut Core, id: ChannelId, now: Instant) -> bool {
        let Some(confirms) = &mut self.confirms else { return true };
        let all_sent = send_unsent(confirms, core, id, now);
        if let Some(sent_at) = confirms.next_sent_at()
            && !core.deadlines.is_set(Timer::Confirm(id.number))
        {
            core.deadlines.set(Timer::Confirm(id.number), sent_at + core.config.confirm_timeout);
        }
        self.answer_waits(core, id);
        if all_sent {
            self.make_writable(core);
        }
        all_sent
    }

    /// Tells those who wait for all confirms, if all have come.
    fn answer_waits(&mut self, core: &mut Core, channel: ChannelId) {
        let Some(confirms) = &mut self.confirms else { return };
        while let Some((token, failures)) = confirms.pop_wait() {
            core.emit(Event::Reply { token, result: Ok(Reply::Confirmed { channel, failures }) });
        }
    }

    /// Tells whoever was refused that there is room again, if there is.
    pub(super) fn make_writable(&mut self, core: &mut Core) {
        let Some(limit) = self.refused_at else { return };
        let (len, unresolved) =
            self.confirms.as_ref().map_or((0, 0), |confirms| (confirms.len(), confirms.unresolved()));
        let has_room = unresolved < limit && len < core.config.max_unconfirmed;
        if has_room && !self.stopped && !self.committing {
            self.refused_at = None;
            core.emit(Event::Writable);
        }
    }
}

/// Sends what is not sent in this life. False when the outbox is full before that.
fn send_unsent(confirms: &mut Confirms, core: &mut Core, id: ChannelId, now: Instant) -> bool {
    while let Some((token, kept)) = confirms.next_unsent() {
        if core.outbox.len() >= core.config.max_outbox {
            return false;
        }
        match core.resend(id.number, kept, now) {
            Ok(fingerprint) => confirms.on_sent(fingerprint, now),
            Err(error) => {
                let reason = Arc::new(CloseReason::Unsendable(error));
                let kept = confirms.take_unsent().and_then(|(_, kept)| kept);
                fail(core, token, kept, &reason);
            }
        }
    }
    true
}

/// A publish has no confirm. One that was never sent is given back.
fn fail(core: &mut Core, token: Token, kept: Option<Kept>, reason: &Arc<CloseReason>) {
    let reason = reason.clone();
    let unsent = kept.as_ref().filter(|kept| !kept.sent).map(|kept| kept.message.clone().into_body());
    let result = match unsent {
        Some(body) => Ok(Confirmation::Unsent(Box::new(Unsent { reason, body }))),
        None => Err(CallError::Closed(reason)),
    };
    core.release_kept(kept);
    core.emit(Event::Confirmed { token, result });
}
