use std::future::IntoFuture;
use std::sync::Arc;

use bytes::Bytes;
use hopmq_proto::amqp::confirm;
use hopmq_proto::client::WhenLost;

use super::Error;
use super::call::Call;
use super::channel::Channel;
use super::confirm::WaitForConfirms;
use super::publish::{Message, Publish};

/// A publisher that is to be made; awaiting it turns confirms on.
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it is awaited"]
pub struct NewPublisher {
    channel: Channel,
    exchange: Arc<str>,
    mandatory: bool,
    max_unconfirmed: usize,
    when_lost: WhenLost,
}

impl NewPublisher {
    pub(super) fn new(channel: Channel) -> Self {
        Self {
            channel,
            exchange: Arc::from(""),
            mandatory: false,
            max_unconfirmed: usize::MAX,
            when_lost: WhenLost::Resend,
        }
    }

    /// The exchange to publish to, in place of the default exchange.
    pub fn exchange(mut self, exchange: &str) -> Self {
        self.exchange = Arc::from(exchange);
        self
    }

    /// A message that no queue takes comes back, as [`PublishError::Returned`](super::PublishError::Returned); otherwise the broker drops and
    /// confirms it.
    pub fn mandatory(mut self) -> Self {
        self.mandatory = true;
        self
    }

    /// Sends only while fewer than `count` (1 at least) publishes on the channel wait for their confirm: a publish then
    /// waits for room, or is refused where it is [tried](Publish::try_send). Otherwise the connection's
    /// [`max_unconfirmed`](crate::Config::max_unconfirmed) alone holds.
    ///
    /// Publishers of one channel share its confirms, so what the others have under way counts too.
    pub fn max_unconfirmed(mut self, count: usize) -> Self {
        self.max_unconfirmed = count.max(1);
        self
    }

    /// What becomes of a message when the connection is lost before it was confirmed, and of one that is published while
    /// there is no connection. [`WhenLost::Resend`] unless it is said: it is sent again, or held, until the connection is
    /// back, and the publish resolves as if nothing had happened; the broker may have it twice then. Its
    /// [`confirm_timeout`](crate::Config::confirm_timeout) begins when it is sent, so it is held for as long as the
    /// connection is being brought back: see [`Recovery::max_elapsed`](crate::Recovery).
    ///
    /// ```no_run
    /// # async fn example(channel: hopmq::Channel) -> Result<(), Box<dyn std::error::Error>> {
    /// use hopmq::{PublishError, WhenLost};
    ///
    /// let publisher = channel.publisher().when_lost(WhenLost::Fail).await?;
    /// match publisher.publish("ticks", "42").await {
    ///     Err(PublishError::NotSent { .. }) => println!("there is no connection now"),
    ///     Err(PublishError::Unconfirmed(_)) => println!("the broker may have it, or not"),
    ///     other => other?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn when_lost(mut self, when_lost: WhenLost) -> Self {
        self.when_lost = when_lost;
        self
    }
}

impl IntoFuture for NewPublisher {
    type Output = Result<Publisher, Error>;
    type IntoFuture = Call<Publisher>;

    fn into_future(self) -> Call<Publisher> {
        let channel = self.channel.inner.clone();
        Call::send(&channel, confirm::Select { no_wait: false }, move |_, _| Publisher {
            channel: self.channel,
            exchange: self.exchange,
            mandatory: self.mandatory,
            max_unconfirmed: self.max_unconfirmed,
            when_lost: self.when_lost,
        })
    }
}

/// Publishes with confirms: when a publish resolves `Ok`, the broker has the message.
///
/// Cloning it gives another handle to the same channel, for another task. Messages are sent in the order in which
/// their futures are first polled; but one that has to wait for room is sent when it is polled again.
#[derive(Debug, Clone)]
pub struct Publisher {
    channel: Channel,
    exchange: Arc<str>,
    mandatory: bool,
    max_unconfirmed: usize,
    when_lost: WhenLost,
}

impl Publisher {
    /// Publishes a message. Awaiting it waits for room, sends, and waits for the confirm; to have many on their way
    /// at once, [`send`](Publish::send) them and await the [`Confirm`](super::Confirm)s together.
    ///
    /// Messages are persistent unless [`properties`](Publish::properties) say otherwise.
    ///
    /// ```no_run
    /// # async fn example(channel: hopmq::Channel) -> Result<(), Box<dyn std::error::Error>> {
    /// use hopmq::Confirms;
    ///
    /// let publisher = channel.publisher().await?;
    /// publisher.publish("orders", "one").await?; // the broker has it
    ///
    /// let mut confirms = Confirms::new();
    /// for n in 0..1000 {
    ///     confirms.push(publisher.publish("orders", format!("{n}")).send().await?);
    /// }
    /// confirms.wait().await?; // the broker has them all
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`PublishError`](super::PublishError) says whether it was not sent, refused, returned, or sent without a confirm.
    pub fn publish<'a>(&'a self, routing_key: &'a str, body: impl Into<Bytes>) -> Publish<'a> {
        let message = Message::persistent(&self.exchange, routing_key, body.into())
            .mandatory(self.mandatory)
            .max_unconfirmed(self.max_unconfirmed)
            .when_lost(self.when_lost);
        Publish::new(&self.channel, message)
    }

    /// Waits until everything that was published on the channel so far is confirmed, returned or lost: all of it, and
    /// not the last one only. It need not be awaited message by message besides.
    ///
    /// The call is sent when this is called. It ends within [`confirm_timeout`](crate::Config::confirm_timeout) of the last of them being sent;
    /// while the connection is away, what is held or to be sent again waits for it, for as long as its recovery may take.
    /// Dropping the future stops waiting. Publishers of one channel share its confirms: it waits for theirs too.
    ///
    /// ```no_run
    /// # async fn example(publisher: hopmq::Publisher) -> Result<(), Box<dyn std::error::Error>> {
    /// for n in 0..1000 {
    ///     drop(publisher.publish("orders", format!("{n}")).send().await?); // without looking at its confirm
    /// }
    /// publisher.wait_for_confirms().await?; // the broker has them all
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// From the future: how many messages have failed on the channel since this was last asked, whether their own
    /// confirms were awaited or not; or that the channel has ended.
    pub fn wait_for_confirms(&self) -> WaitForConfirms {
        WaitForConfirms::new(&self.channel)
    }

    /// The channel that it publishes on.
    #[must_use]
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }
}
