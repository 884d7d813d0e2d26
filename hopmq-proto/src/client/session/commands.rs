use alloc::sync::Arc;

use bytes::Bytes;

use super::engine::Session;
use super::recovery::WhenLost;
use crate::Instant;
use crate::amqp::{Method, Properties, Publish, Secret, ShortStr};
use crate::client::connection::Outgoing;
use crate::client::{
    ChannelId, CloseReason, CommandError, Config, Delivery, DeliveryId, PublishError, Reply, Settle,
    SettleError, Token,
};

/// The commands of a connection. While it is away, what can wait for it waits, and counts against the same bounds.
impl Session {
    /// Why the session has ended, once it has.
    #[must_use]
    pub fn close_reason(&self) -> Option<&Arc<CloseReason>> {
        self.connection.close_reason()
    }

    /// What it was made with.
    #[must_use]
    pub const fn config(&self) -> &Config {
        self.connection.config()
    }

    /// Opens a channel: [`Connection::open_channel`](crate::client::Connection::open_channel).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_channel(&mut self, now: Instant) -> Result<(ChannelId, Token), CommandError> {
        self.connection.open_channel(now)
    }

    /// Closes a channel: [`Connection::close_channel`](crate::client::Connection::close_channel).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn close_channel(&mut self, channel: ChannelId, now: Instant) -> Result<Token, CommandError> {
        let token = self.connection.close_channel(channel, now);
        self.look(now);
        token
    }

    /// Whether a channel is open, or will be when the connection is back: [`Connection::check_channel`](crate::client::Connection::check_channel).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn check_channel(&mut self, channel: ChannelId) -> Result<(), CommandError> {
        self.connection.check_channel(channel)
    }

    /// Sends a method that the server answers: [`Connection::call`](crate::client::Connection::call).
    ///
    /// When the connection is lost before the answer, what declares, binds, limits or starts something is sent again; the
    /// other calls fail with the cause. The time of a call goes on.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn call(
        &mut self,
        channel: ChannelId,
        method: impl Into<Method>,
        now: Instant,
    ) -> Result<Token, CommandError> {
        self.connection.call(channel, method, now)
    }

    /// Sends a method that asks for no answer: [`Connection::send_no_wait`](crate::client::Connection::send_no_wait).
    ///
    /// What it declares or binds is there after a loss, too, though it may be lost on its way. What it deletes may stay then.
    ///
    /// # Errors
    ///
    /// As there; [`CommandError::Full`] also when `max_calls` calls wait: behind them it waits to be remembered.
    pub fn send_no_wait(
        &mut self,
        channel: ChannelId,
        method: impl Into<Method>,
        now: Instant,
    ) -> Result<(), CommandError> {
        self.connection.send_no_wait(channel, method, now)
    }

    /// The queue that was last declared on a channel: [`Connection::last_queue`](crate::client::Connection::last_queue).
    pub fn last_queue(&mut self, channel: ChannelId) -> Option<&ShortStr> {
        self.connection.last_queue(channel)
    }

    /// Nobody waits for this call any more: [`Connection::abandon`](crate::client::Connection::abandon).
    pub fn abandon(&mut self, channel: ChannelId, token: Token) {
        self.connection.abandon(channel, token);
    }

    /// Gives back what a reply granted: [`Connection::give_back`](crate::client::Connection::give_back).
    pub fn give_back(&mut self, reply: Reply, now: Instant) {
        self.connection.give_back(reply, now);
        self.look(now);
    }

    /// Puts a delivery back into its queue: [`Connection::requeue`](crate::client::Connection::requeue).
    pub fn requeue(&mut self, delivery: Delivery, now: Instant) {
        self.connection.requeue(delivery, now);
    }

    /// Publishes a message: [`Connection::publish`](crate::client::Connection::publish), to be sent again after a loss.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn publish(
        &mut self,
        channel: ChannelId,
        publish: &Publish<'_>,
        properties: &Properties,
        body: &Bytes,
        now: Instant,
    ) -> Result<Option<Token>, PublishError> {
        self.publish_with(channel, publish, properties, body, WhenLost::default(), now)
    }

    /// Publishes a message, and says what becomes of it when the connection is lost before its confirm.
    ///
    /// On a channel without confirms nothing is ever sent again, and nothing is taken while the connection is away.
    ///
    /// # Errors
    ///
    /// [`PublishError::Full`] also when more than [`Recovery::max_unconfirmed_bytes`](super::Recovery) wait;
    /// [`PublishError::Blocked`] while the connection is away, on a channel without confirms; and
    /// [`CommandError::Disconnected`] then for [`WhenLost::Fail`].
    pub fn publish_with(
        &mut self,
        channel: ChannelId,
        publish: &Publish<'_>,
        properties: &Properties,
        body: &Bytes,
        when_lost: WhenLost,
        now: Instant,
    ) -> Result<Option<Token>, PublishError> {
        if self.recovery.message_ids && when_lost == WhenLost::Resend && properties.message_id.is_none() {
            self.messages += 1;
            let id = alloc::format!("{:016x}-{:x}", self.message_prefix, self.messages);
            let properties = Properties { message_id: Some(ShortStr::truncated(&id)), ..properties.clone() };
            let outgoing = Outgoing { publish, properties: &properties, body, when_lost };
            return self.connection.publish_outgoing(channel, outgoing, now);
        }
        self.connection.publish_outgoing(channel, Outgoing { publish, properties, body, when_lost }, now)
    }

    /// Refuses when `limit` or more publishes wait for their confirm: [`Connection::check_unconfirmed`](crate::client::Connection::check_unconfirmed).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn check_unconfirmed(&mut self, channel: ChannelId, limit: usize) -> Result<(), PublishError> {
        self.connection.check_unconfirmed(channel, limit)
    }

    /// Waits until every publish on a channel so far is resolved: [`Connection::await_confirms`](crate::client::Connection::await_confirms).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn await_confirms(&mut self, channel: ChannelId) -> Result<Token, CommandError> {
        self.connection.await_confirms(channel)
    }

    /// Settles a delivery: [`Connection::settle`](crate::client::Connection::settle).
    ///
    /// # Errors
    ///
    /// As there; [`SettleError::Stale`] for one that came before a loss.
    pub fn settle(&mut self, id: DeliveryId, settle: Settle, now: Instant) -> Result<(), SettleError> {
        self.connection.settle(id, settle, now)
    }

    /// Closes the session, wherever it is: nothing is dialled or brought back any more. [`Connection::close`](crate::client::Connection::close) says how an
    /// open connection is closed; one that is away is closed at once, and what waited for it fails.
    ///
    /// # Errors
    ///
    /// When it is closing or closed already.
    pub fn close(&mut self, now: Instant) -> Result<Token, CommandError> {
        let token = self.connection.close(now);
        self.look(now);
        token
    }

    /// Ends the session at once: [`Connection::abort`](crate::client::Connection::abort).
    pub fn abort(&mut self, now: Instant) {
        self.connection.abort(now);
        self.look(now);
    }

    /// Replaces the password or token that the server knows: [`Connection::update_secret`](crate::client::Connection::update_secret). The next handshake uses what
    /// [`set_credentials`](Session::set_credentials) says.
    ///
    /// # Errors
    ///
    /// As there; [`CommandError::NotOpen`] while the connection is away.
    pub fn update_secret(
        &mut self,
        new_secret: Secret,
        reason: ShortStr,
        now: Instant,
    ) -> Result<Token, CommandError> {
        self.connection.update_secret(new_secret, reason, now)
    }

    /// Tells the engine whether its owner has room: [`Connection::set_paused`](crate::client::Connection::set_paused).
    pub fn set_paused(&mut self, paused: bool, now: Instant) {
        let was_read = self.connection.is_read();
        self.connection.set_paused(paused, now);
        if !was_read && self.connection.is_read() {
            self.wait_anew(now);
        }
    }
}
