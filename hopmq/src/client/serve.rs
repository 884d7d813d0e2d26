use std::future::Future;

use bytes::Bytes;
use hopmq_proto::amqp::Properties;
use hopmq_proto::client::Message;

use super::Error;
use super::channel::Channel;
use super::handle::{OnError, Received};
use super::incoming::ConsumerEnd;
use super::publisher::Publisher;

/// How many requests are worked on at once unless it is said.
const CONCURRENCY: u16 = 16;

/// Serves the requests in a queue: the other side of an [`RpcClient`](super::RpcClient).
#[derive(Debug, Clone)]
#[must_use = "nothing is served until a handler is given, and awaited"]
pub struct RpcServer {
    channel: Channel,
    queue: String,
    tag: String,
    concurrency: u16,
    on_error: OnError,
}

/// What a handler answers: anything that can be a body, or a body with properties.
#[derive(Debug, Clone)]
pub struct Response {
    body: Bytes,
    properties: Properties,
}

impl Response {
    /// With these properties. `correlation_id` is set when it is sent; without `delivery_mode` it is sent as the request
    /// was.
    #[must_use]
    pub fn new(body: impl Into<Bytes>, properties: Properties) -> Self {
        Self { body: body.into(), properties }
    }
}

impl<B: Into<Bytes>> From<B> for Response {
    fn from(body: B) -> Self {
        Self::new(body, Properties::new())
    }
}

impl Channel {
    /// Serves the requests in a queue, as [`rpc_server`](Channel::rpc_server) does with its defaults.
    ///
    /// ```no_run
    /// # async fn example(channel: hopmq::Channel) -> Result<(), Box<dyn std::error::Error>> {
    /// channel.declare_queue("double").durable().await?;
    /// let end = channel
    ///     .serve("double", |request| async move {
    ///         let number: u64 = std::str::from_utf8(request.body())?.parse()?;
    ///         Ok::<_, Box<dyn std::error::Error + Send + Sync>>((number * 2).to_string())
    ///     })
    ///     .await?;
    /// println!("no more requests: {end}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When it could not begin: there is no such queue, for example.
    pub fn serve<H, F, R, E>(
        &self,
        queue: &str,
        handler: H,
    ) -> impl Future<Output = Result<ConsumerEnd, Error>> + use<H, F, R, E>
    where
        H: FnMut(Received) -> F,
        F: Future<Output = Result<R, E>>,
        R: Into<Response>,
    {
        self.rpc_server(queue).serve(handler)
    }

    /// Serves the requests in a queue, in a way that can be chosen. It takes the channel's confirms and sets its
    /// prefetch: give it a channel of its own.
    pub fn rpc_server(&self, queue: &str) -> RpcServer {
        let (channel, queue) = (self.clone(), queue.to_owned());
        RpcServer { channel, queue, tag: String::new(), concurrency: CONCURRENCY, on_error: OnError::Reject }
    }
}

impl RpcServer {
    /// A name for its consumer, to [cancel](Channel::cancel_consumer) it by: it then serves what it has begun, and
    /// ends. Otherwise the broker names it.
    pub fn tag(mut self, tag: &str) -> Self {
        tag.clone_into(&mut self.tag);
        self
    }

    /// How many requests are worked on at once, 16 unless it is said; 0 is taken as 1. They are also as many as the
    /// broker hands out before one is answered.
    pub fn concurrency(mut self, requests: u16) -> Self {
        self.concurrency = requests.max(1);
        self
    }

    /// What becomes of a request whose handler fails, or whose reply does: [`OnError::Reject`] unless it is said.
    pub const fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }

    /// Calls `handler` for each request, and sends what it gives as the reply, until the consumer ends; then waits for
    /// the handlers that run, and says why it ended. Nothing is spawned: the handlers run side by side inside this
    /// future, as those of [`Consumer::handle`](super::Consumer::handle) do.
    ///
    /// A request is acknowledged once the broker has confirmed the reply to it, so one that is under way when the
    /// connection is lost is served again. Of one whose handler fails the client hears nothing: a handler that wants to
    /// be heard says what went wrong in its reply. One without `reply_to` is served and gets no reply. A reply that
    /// nobody waits for any more is dropped by the broker.
    ///
    /// # Errors
    ///
    /// When it could not begin: there is no such queue, for example.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the handlers that run. Their requests stay unsettled, and go back into the queue when the
    /// channel ends: with this, when it is a channel of its own.
    pub async fn serve<F, R, E>(self, mut handler: impl FnMut(Received) -> F) -> Result<ConsumerEnd, Error>
    where
        F: Future<Output = Result<R, E>>,
        R: Into<Response>,
    {
        let publisher = &self.channel.publisher().await?;
        let requests = self.channel.consume(&self.queue).tag(&self.tag).prefetch(self.concurrency);
        let mut requests = requests.await?;
        let serve = |request: Received| {
            let work = handler(request.clone());
            async move { answer(publisher, &request, work.await.map_err(drop)?.into()).await }
        };
        Ok(requests.handle(self.concurrency.into(), self.on_error, serve).await)
    }
}

/// Sends the reply, and waits for its confirm. Why it fails is not told: when the channel has ended, the consumer says
/// so, and otherwise the request is settled as a failed one.
async fn answer(publisher: &Publisher, request: &Message, response: Response) -> Result<(), ()> {
    let asked = request.properties().map_err(drop)?;
    let Some(reply_to) = asked.reply_to else { return Ok(()) };
    let Response { body, mut properties } = response;
    properties.correlation_id = asked.correlation_id;
    properties.delivery_mode = properties.delivery_mode.or(asked.delivery_mode);
    let reply_to = reply_to.as_str().map_err(drop)?;
    publisher.publish(reply_to, body).properties(&properties).await.map_err(drop)
}
