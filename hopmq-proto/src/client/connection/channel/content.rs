use alloc::boxed::Box;

use bytes::Bytes;

use super::{Channel, State};
use crate::Instant;
use crate::amqp::{ReplyCode, basic};
use crate::client::connection::assembler::{Origin, Refusal};
use crate::client::connection::calls::Expects;
use crate::client::connection::core::{Core, MAX_ANSWERS};
use crate::client::{CloseReason, Delivery, DeliveryId, Event, Message, PeerMisbehaved, Reply, Returned};

/// Messages as they come: header and body frames, and what they are the end of.
impl Channel {
    /// Takes the payload of a header frame.
    pub(in crate::client::connection) fn on_header(
        &mut self,
        core: &mut Core,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), PeerMisbehaved> {
        if let State::Closing { .. } = self.life.state() {
            return Ok(());
        }
        let whole = self.assembler.on_header(payload, core.config.max_body_size);
        self.on_content(core, "header", whole, now)
    }

    /// Whether a body frame of `len` bytes should be handed over rather than copied.
    pub(in crate::client::connection) fn takes_whole_body(&self, len: usize) -> bool {
        matches!(self.life.state(), State::Open | State::Resuming(_)) && self.assembler.takes_whole(len)
    }

    /// Takes the payload of a body frame that is to be handed over.
    pub(in crate::client::connection) fn on_whole_body(
        &mut self,
        core: &mut Core,
        body: Bytes,
        now: Instant,
    ) -> Result<(), PeerMisbehaved> {
        let whole = self.assembler.on_whole_body(body);
        self.on_content(core, "body", whole, now)
    }

    /// Takes the payload of a body frame.
    pub(in crate::client::connection) fn on_body(
        &mut self,
        core: &mut Core,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), PeerMisbehaved> {
        if let State::Closing { .. } = self.life.state() {
            return Ok(());
        }
        let whole = self.assembler.on_body(payload);
        self.on_content(core, "body", whole, now)
    }

    fn on_content(
        &mut self,
        core: &mut Core,
        frame: &'static str,
        whole: Result<Option<(Origin, Message)>, Refusal>,
        now: Instant,
    ) -> Result<(), PeerMisbehaved> {
        match whole {
            Ok(None) => {}
            Ok(Some((origin, message))) => self.on_message(core, origin, message, now)?,
            Err(Refusal::Unexpected) => {
                return Err(PeerMisbehaved::UnexpectedFrame { frame, channel: self.id.number });
            }
            Err(Refusal::TooLong) => return Err(PeerMisbehaved::BodyTooLong(self.id.number)),
            Err(Refusal::Wire(error)) => return Err(error.into()),
            Err(Refusal::TooLarge(size)) => {
                let reason = CloseReason::BodyTooLarge { size, max: core.config.max_body_size };
                self.close(core, ReplyCode::CONTENT_TOO_LARGE, reason, None, now);
            }
        }
        Ok(())
    }

    fn on_message(
        &mut self,
        core: &mut Core,
        origin: Origin,
        message: Message,
        now: Instant,
    ) -> Result<(), PeerMisbehaved> {
        let (channel, epoch) = (self.id, self.epoch);
        let id = |no_ack: bool, tag| (!no_ack).then_some(DeliveryId { channel, epoch, tag });
        match origin {
            Origin::Deliver { consumer, no_ack, tag, redelivered } => match consumer {
                Some(consumer) => {
                    let delivery = Delivery { id: id(no_ack, tag), redelivered, message };
                    core.emit(Event::Delivery { consumer, delivery });
                }
                None => self.put_back(core, no_ack, tag, &message, now)?,
            },
            Origin::Get { tag, redelivered, message_count } => {
                let call = self.calls.answered_by_message();
                self.record_no_wait(core);
                let no_ack =
                    call.as_ref().is_some_and(|call| matches!(call.expects, Expects::Get { no_ack: true }));
                match call.and_then(|call| call.token) {
                    Some(token) => {
                        let delivery = Box::new(Delivery { id: id(no_ack, tag), redelivered, message });
                        let reply = Reply::Message { delivery, message_count };
                        core.emit(Event::Reply { token, result: Ok(reply) });
                    }
                    None => self.put_back(core, no_ack, tag, &message, now)?,
                }
            }
            Origin::Return { code, text } => {
                let returned = Box::new(Returned { code, text, ambiguous: false, message });
                if let Some(returned) = self.publishing.on_return(returned) {
                    core.emit(Event::Returned { channel: self.id, returned });
                }
            }
        }
        Ok(())
    }

    /// Puts a message that nobody waits for back into its queue.
    fn put_back(
        &mut self,
        core: &mut Core,
        no_ack: bool,
        delivery_tag: u64,
        message: &Message,
        now: Instant,
    ) -> Result<(), PeerMisbehaved> {
        if !no_ack && !message.is_of_stream() && !self.settled.has(delivery_tag) {
            let held = self.held.len();
            self.send_small(core, basic::Nack { delivery_tag, multiple: false, requeue: true }, now);
            // A server that answers no commit must not make us hold back more and more for it.
            let answers = self.held.count_answers(held);
            if answers > MAX_ANSWERS {
                return Err(PeerMisbehaved::AnswersUnread(answers));
            }
        }
        Ok(())
    }
}
