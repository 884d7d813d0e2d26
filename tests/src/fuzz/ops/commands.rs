use bytes::Bytes;
use hopmq_proto::amqp::{LongStr, Publish, Secret, ShortStr};
use hopmq_proto::client::{ChannelId, PublishError, Reply, Settle, SettleError, WhenLost};

use super::super::script::Script;
use super::engine::{Client, Outgoing};
use super::ledger::Waits;
use super::run::Run;
use super::words;

/// The longest method that is sent here, with its table; or the frames around a body.
const METHOD: usize = 1500;

/// What the owner does.
impl<C: Client> Run<C> {
    pub(super) fn open_channel(&mut self) {
        let before = self.before();
        match self.engine.open_channel(self.now) {
            Ok((id, token)) => {
                self.explain(METHOD);
                self.ledger.channels.push(id);
                self.ledger.owe(token, Waits::Open(id));
            }
            Err(_) => self.check_refused(before),
        }
    }

    pub(super) fn call(&mut self, kind: u8, script: &mut Script<'_>) {
        let Some(id) = self.ledger.channel(script.next()) else { return };
        let method = words::call(kind, kind & 0x80 != 0 && kind & 0x40 != 0, script);
        let (asked, before) = (method.id(), self.before());
        match self.engine.call(id, method, self.now) {
            Ok(token) => {
                self.explain(METHOD);
                self.ledger.owe(token, Waits::Call(id, asked));
            }
            Err(_) => self.check_refused(before),
        }
    }

    fn send_no_wait(&mut self, kind: u8, script: &mut Script<'_>) {
        let Some(id) = self.ledger.channel(script.next()) else { return };
        let (method, before) = (words::call(kind, true, script), self.before());
        match self.engine.send_no_wait(id, method, self.now) {
            Ok(()) => self.explain(METHOD),
            Err(_) => self.check_refused(before),
        }
    }

    pub(super) fn publish(&mut self, how: u8, script: &mut Script<'_>) {
        let Some(id) = self.ledger.channel(script.next()) else { return };
        let body = Bytes::from(vec![how; words::body_len(script.next())]);
        self.published += 1;
        let (number, key) = (self.published, format!("k{}", self.published));
        let publish = Publish { routing_key: key.as_bytes(), mandatory: how & 8 != 0, ..Publish::default() };
        let when_lost = [WhenLost::Resend, WhenLost::Hold, WhenLost::Fail][usize::from(how >> 4) % 3];
        let properties = words::properties(how);
        let (len, before) = (body.len(), self.before());
        match self.engine.publish(id, &Outgoing { publish, properties, body, when_lost }, self.now) {
            Ok(token) => {
                self.explain(METHOD + len + len / 1000 * 8);
                if let Some(token) = token {
                    self.ledger.owe(token, Waits::Publish(number));
                }
            }
            Err(PublishError::Full | PublishError::Blocked) => self.check_unsent(before),
            Err(_) => self.check_refused(before),
        }
    }

    pub(super) fn settle(&mut self, how: u8, script: &mut Script<'_>) {
        if self.ledger.held.is_empty() {
            return;
        }
        let at = usize::from(script.next()) % self.ledger.held.len();
        let Some(held) = self.ledger.held.remove(at) else { return };
        let (multiple, requeue) = (how & 1 != 0, how & 2 != 0);
        let settle = match how >> 2 & 3 {
            0 | 1 => Settle::Ack { multiple },
            2 => Settle::Nack { multiple, requeue },
            _ => Settle::Reject { requeue },
        };
        let (channel, before) = (held.id.channel(), self.before());
        match self.engine.settle(held.id, settle, self.now) {
            Ok(()) => {
                assert!(!held.stale, "a delivery of an earlier life is settled");
                self.explain(METHOD);
            }
            Err(error) => {
                let is_gone = held.stale || self.ledger.is_number_given_again(channel);
                assert!(is_gone || error != SettleError::Stale || !self.ledger.opened);
                self.check_refused(before);
            }
        }
    }

    /// What an owner does more seldom.
    pub(super) fn command(&mut self, what: u8, script: &mut Script<'_>) {
        let id = self.ledger.channel(script.next());
        match (what % 16, id) {
            (0 | 1, Some(id)) => self.close_channel(id),
            (2 | 3, Some(id)) => self.await_confirms(id),
            (4 | 5, _) => self.send_no_wait(script.next(), script),
            (6, Some(id)) => {
                let _ = self.engine.check_unconfirmed(id, usize::from(script.next()));
            }
            (7 | 8, _) => {
                if let Some((channel, token)) = self.ledger.abandon(script.next()) {
                    self.engine.abandon(channel, token);
                    self.explain(METHOD);
                }
            }
            (9 | 10, _) => self.give_back(script.next()),
            (11, _) => self.pause(script.next() & 1 == 0),
            (12, _) => self.update_secret(),
            (13, _) if script.next() & 3 == 0 => self.close(),
            (14, _) if script.next() & 15 == 0 => {
                self.engine.abort(self.now);
            }
            _ => self.open_channel(),
        }
    }

    fn close_channel(&mut self, id: ChannelId) {
        let before = self.before();
        match self.engine.close_channel(id, self.now) {
            Ok(token) => {
                self.explain(METHOD);
                self.ledger.owe(token, Waits::Close(Some(id)));
                self.ledger.close_channel(id);
            }
            Err(_) => self.check_refused(before),
        }
    }

    fn await_confirms(&mut self, id: ChannelId) {
        let before = self.before();
        match self.engine.await_confirms(id) {
            Ok(token) => self.ledger.owe(token, Waits::Confirms(id)),
            Err(_) => self.check_refused(before),
        }
    }

    fn give_back(&mut self, how: u8) {
        match self.ledger.take_reply() {
            Some(Reply::Message { delivery, .. }) if how & 1 == 0 => self.engine.requeue(*delivery, self.now),
            Some(reply) => self.engine.give_back(reply, self.now),
            None => return,
        }
        self.explain(METHOD);
    }

    fn update_secret(&mut self) {
        let (secret, reason) = (Secret::new(LongStr::from_static("new")), ShortStr::from_static("a test"));
        let before = self.before();
        match self.engine.update_secret(secret, reason, self.now) {
            Ok(token) => {
                self.explain(METHOD);
                self.ledger.owe(token, Waits::Secret);
            }
            Err(_) => self.check_refused(before),
        }
    }

    pub(super) fn close(&mut self) {
        let before = self.before();
        match self.engine.close(self.now) {
            Ok(token) => {
                self.explain(METHOD);
                self.ledger.owe(token, Waits::Close(None));
            }
            Err(_) => self.check_refused(before),
        }
    }
}
