use std::future::Future;
use std::sync::Arc;

use hopmq_proto::amqp::{FieldValue, LongStr, Secret};
use hopmq_proto::client::{CloseReason, ServerInfo};

use super::Error;
use super::call::Call;
use super::channel::{Channel, short};
use super::events::{ConnectionState, Events, state_where};
use super::shared::Shared;

/// A connection to a broker.
///
/// When it is lost it comes back by itself, as [`ConnectOptions::recovery`](super::ConnectOptions::recovery) says, and with it
/// everything that was made on it: its channels, what was declared and bound, consumers, confirms. The handles go on;
/// what is called or published in between waits for its time, and [`events`](Connection::events) tell.
///
/// Cloning it gives another handle to the same connection, for another task. When the last handle to it and to its
/// channels, consumers and publishers is dropped, it is closed; what was published before is still sent.
#[derive(Clone)]
pub struct Connection {
    pub(super) inner: Arc<ConnectionInner>,
}

/// Closes the connection when it is dropped.
pub(crate) struct ConnectionInner {
    pub(crate) shared: Arc<Shared>,
}

impl Drop for ConnectionInner {
    fn drop(&mut self) {
        self.shared.command(|state, now| {
            // Nobody is left to hear that it was closed already.
            let _ = state.engine.close(now);
        });
    }
}

impl Connection {
    /// Opens a channel.
    ///
    /// Dropping the future closes the channel again.
    ///
    /// ```no_run
    /// # async fn example(connection: hopmq::Connection) -> Result<(), hopmq::Error> {
    /// let channel = connection.open_channel().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn open_channel(&self) -> Call<Channel> {
        let opened = self.inner.shared.command(|state, now| {
            let (id, token) = state.engine.open_channel(now)?;
            state.expect_reply(token);
            Ok((id, token))
        });
        match opened {
            Ok((id, token)) => {
                let channel = Channel::new(self.inner.clone(), id);
                let inner = channel.inner.clone();
                Call::sent(&self.inner, Some(&inner), Ok(token), |_, _| channel)
            }
            Err(error) => Call::refused(error),
        }
    }

    /// What the server said of itself, and what was agreed on, when the connection was opened last: after a loss it may be
    /// another server.
    #[must_use]
    pub fn server(&self) -> Arc<ServerInfo> {
        self.inner.shared.look(|state| state.server.clone())
    }

    /// How it is now.
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        self.inner.shared.look(|state| state.log.state())
    }

    /// Waits until the connection is in a state that `is_it` says yes to, or has ended, and gives the state. It sees
    /// every state that lasts until it is polled. The future does not keep the connection open.
    ///
    /// ```no_run
    /// # async fn example(connection: hopmq::Connection) {
    /// use hopmq::ConnectionState;
    ///
    /// match connection.state_where(|state| *state == ConnectionState::Connected).await {
    ///     ConnectionState::Closed(reason) => eprintln!("the connection has ended: {reason}"),
    ///     _ => println!("the server can be reached"),
    /// }
    /// # }
    /// ```
    pub fn state_where<F>(&self, is_it: F) -> impl Future<Output = ConnectionState> + Send + use<F>
    where
        F: FnMut(&ConnectionState) -> bool + Send,
    {
        let shared = self.inner.shared.clone();
        async move { state_where(&shared, is_it).await }
    }

    /// Whether the server takes no publishes for now. Publishes wait until it does.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.inner.shared.look(|state| state.log.is_blocked())
    }

    /// What happens to the connection from now on: lost and recovered, blocked and unblocked, renewals of the secret, and
    /// its end.
    ///
    /// ```no_run
    /// # async fn example(connection: hopmq::Connection) {
    /// use hopmq::ConnectionEvent;
    ///
    /// let mut events = connection.events();
    /// while let Some(event) = events.next().await {
    ///     match event {
    ///         ConnectionEvent::Blocked { reason } => eprintln!("the server takes no publishes: {reason}"),
    ///         ConnectionEvent::Lost { reason } => eprintln!("the connection was lost: {reason}"),
    ///         ConnectionEvent::Recovered { took, .. } => eprintln!("it is back after {took:?}"),
    ///         ConnectionEvent::Closed(reason) => eprintln!("the connection has ended: {reason}"),
    ///         _ => {}
    ///     }
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(&self.inner.shared)
    }

    /// Waits for the end of the connection, and says why it came. The future does not keep the connection open.
    pub fn closed(&self) -> impl Future<Output = Arc<CloseReason>> + Send + use<> {
        let shared = self.inner.shared.clone();
        async move {
            loop {
                if let ConnectionState::Closed(reason) = state_where(&shared, |_| false).await {
                    return reason;
                }
            }
        }
    }

    /// Replaces the password or token that the server knows, without connecting again. `reason` is for the server's log.
    /// A [`CredentialsProvider`](super::CredentialsProvider) does this by itself.
    ///
    /// # Errors
    ///
    /// When the server does not take it: then it closes the connection, with 530.
    pub fn update_secret(&self, secret: &str, reason: &str) -> Call<()> {
        let sent = short("reason", reason).and_then(|reason| {
            let secret = LongStr::new(secret.as_bytes().to_vec()).map(Secret::new);
            let secret = secret.map_err(|error| Error::Argument { argument: "secret", error })?;
            self.inner.shared.command(|state, now| {
                let token = state.engine.update_secret(secret, reason, now)?;
                state.expect_reply(token);
                Ok(token)
            })
        });
        Call::sent(&self.inner, None, sent, |_, _| ())
    }

    /// Why the connection has ended, once it has.
    #[must_use]
    pub fn close_reason(&self) -> Option<Arc<CloseReason>> {
        self.inner.shared.look(|state| state.engine.close_reason().cloned())
    }

    /// Closes the connection and all its channels, after everything that was published is sent. While the connection is
    /// lost this ends it at once, and what waits for it to come back fails.
    ///
    /// Dropping the future stops waiting; the connection closes all the same.
    ///
    /// # Errors
    ///
    /// When it is closed already, with the reason; or when the server does not answer within `close_timeout`.
    pub fn close(&self) -> Call<()> {
        let sent = self.inner.shared.command(|state, now| {
            let token = state.engine.close(now)?;
            state.expect_reply(token);
            Ok::<_, Error>(token)
        });
        Call::sent(&self.inner, None, sent, |_, _| ())
    }

    /// Ends the connection at once, and tells the server nothing: but for what is on its way into the socket already, what
    /// was not sent yet never is. Everything that waits is resolved with [`CloseReason::Aborted`].
    pub fn abort(&self) {
        self.inner.shared.command(|state, now| state.engine.abort(now));
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let server = self.server();
        let property = |name| server.properties.get(name).and_then(FieldValue::as_str).unwrap_or_default();
        let (product, version) = (property("product"), property("version"));
        f.debug_struct("Connection")
            .field("product", &product)
            .field("version", &version)
            .finish_non_exhaustive()
    }
}
