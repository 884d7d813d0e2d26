use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;
use hopmq_proto::client::{CloseReason, Entity, EntityOutcome, Refused};

use super::Endpoint;
use super::shared::Shared;

/// How many events are kept for listeners that lag behind.
const KEPT: usize = 64;

/// What happens to a connection as a whole.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// The server takes no publishes for now, most often because it is short of memory or disk. They wait; everything
    /// else goes on. See <https://www.rabbitmq.com/docs/connection-blocked>.
    Blocked {
        /// Why, in the server's words.
        reason: String,
    },
    /// The server takes publishes again.
    Unblocked,
    /// The credentials provider has given a new secret, and the server has taken it.
    SecretUpdated,
    /// The secret could not be renewed. It is tried again until the old one expires.
    RefreshFailed {
        /// What the provider or the server said.
        error: String,
    },
    /// The connection is lost. What was delivered before and not settled comes again; what is called or published from now
    /// on waits until it is back. Attempts to bring it back follow, and then [`Recovered`](ConnectionEvent::Recovered), or
    /// [`Closed`](ConnectionEvent::Closed) when they are given up.
    Lost {
        /// Why.
        reason: Arc<CloseReason>,
    },
    /// An attempt to connect has failed.
    AttemptFailed {
        /// Where to.
        endpoint: Endpoint,
        /// Why.
        reason: Arc<CloseReason>,
        /// When the next attempt is; `None` when the next endpoint is tried at once, or this was the last attempt.
        retry_in: Option<Duration>,
    },
    /// A queue that the server had named has another name since the connection is back. Its bindings and consumers are
    /// with the new one.
    QueueRenamed {
        /// What it was called.
        old: String,
        /// What it is called now.
        new: String,
    },
    /// Something that was declared on the connection could not be brought back. The connection goes on without it, and does
    /// not try again, unless it is declared again.
    Degraded {
        /// What.
        entity: Arc<Entity>,
        /// Why not, most often in the server's words.
        reason: Refused,
    },
    /// The connection is back, with everything that was declared on it but for what [`Degraded`](ConnectionEvent::Degraded)
    /// told of.
    Recovered {
        /// How long it was away.
        took: Duration,
        /// What became of each exchange, queue and binding that was declared on it, and which consumers did not come back.
        outcomes: Arc<[EntityOutcome]>,
    },
    /// The connection has ended. Nothing follows.
    Closed(Arc<CloseReason>),
}

/// How a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// It works.
    Connected,
    /// It works, but the server takes no publishes for now.
    Blocked {
        /// Why, in the server's words.
        reason: String,
    },
    /// It is lost, and is being brought back.
    Recovering {
        /// Why it was lost.
        reason: Arc<CloseReason>,
    },
    /// It has ended.
    Closed(Arc<CloseReason>),
}

/// The events of a connection, for as many listeners as there are.
#[derive(Default)]
pub(crate) struct EventLog {
    /// The latest ones.
    kept: VecDeque<ConnectionEvent>,
    /// How many came before those.
    dropped: u64,
    /// Why the server takes no publishes, while it does not.
    blocked: Option<String>,
    /// Why the connection was lost, until it is back.
    lost: Option<Arc<CloseReason>>,
    closed: Option<Arc<CloseReason>>,
    waiting: BTreeMap<u64, Waker>,
    listeners: u64,
}

impl EventLog {
    /// Keeps the event, and gives who waits for one. Nothing comes after the close.
    pub(crate) fn push(&mut self, event: ConnectionEvent, woken: &mut Vec<Waker>) {
        if self.closed.is_some() {
            return;
        }
        match &event {
            ConnectionEvent::Blocked { reason } => self.blocked = Some(reason.clone()),
            ConnectionEvent::Unblocked => self.blocked = None,
            ConnectionEvent::Lost { reason } => {
                self.blocked = None;
                self.lost = Some(reason.clone());
            }
            ConnectionEvent::Recovered { .. } => self.lost = None,
            ConnectionEvent::Closed(reason) => {
                self.blocked = None;
                self.closed = Some(reason.clone());
            }
            _ => {}
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
            self.dropped += 1;
        }
        self.kept.push_back(event);
        woken.extend(std::mem::take(&mut self.waiting).into_values());
    }

    pub(crate) const fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    fn end(&self) -> u64 {
        self.dropped + self.kept.len() as u64
    }

    pub(crate) fn state(&self) -> ConnectionState {
        match (&self.closed, &self.lost, &self.blocked) {
            (Some(reason), ..) => ConnectionState::Closed(reason.clone()),
            (None, Some(reason), _) => ConnectionState::Recovering { reason: reason.clone() },
            (None, None, Some(reason)) => ConnectionState::Blocked { reason: reason.clone() },
            (None, None, None) => ConnectionState::Connected,
        }
    }

    /// What a new listener is told first: the state, unless it is the ordinary one.
    fn first(&self) -> Option<ConnectionEvent> {
        match self.state() {
            ConnectionState::Connected => None,
            ConnectionState::Blocked { reason } => Some(ConnectionEvent::Blocked { reason }),
            ConnectionState::Recovering { reason } => Some(ConnectionEvent::Lost { reason }),
            ConnectionState::Closed(reason) => Some(ConnectionEvent::Closed(reason)),
        }
    }

    /// Gives the event with the number `next` or the first one after it that is still kept.
    fn poll_next(
        &mut self,
        cx: &Context<'_>,
        listener: u64,
        next: &mut u64,
        stale: &mut Vec<Waker>,
    ) -> Poll<Option<ConnectionEvent>> {
        *next = self.dropped.max(*next);
        let at = usize::try_from(*next - self.dropped).unwrap_or(usize::MAX);
        match self.kept.get(at) {
            Some(event) => {
                *next += 1;
                Poll::Ready(Some(event.clone()))
            }
            None if self.closed.is_some() => Poll::Ready(None),
            None => self.wait(cx, listener, stale),
        }
    }

    /// Keeps the waker; one that it replaces goes to `stale`, to be dropped without the lock.
    fn wait<T>(&mut self, cx: &Context<'_>, listener: u64, stale: &mut Vec<Waker>) -> Poll<T> {
        stale.extend(self.waiting.insert(listener, cx.waker().clone()));
        Poll::Pending
    }
}

/// Somebody who listens, until it is dropped. It does not keep the connection open.
struct Listener {
    shared: Arc<Shared>,
    id: u64,
}

impl Listener {
    fn new(shared: &Arc<Shared>) -> Self {
        let id = shared.look(|state| {
            state.log.listeners += 1;
            state.log.listeners
        });
        Self { shared: shared.clone(), id }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.shared.look(|state| state.log.waiting.remove(&self.id)));
    }
}

/// What happens to a connection, as a stream that ends behind [`ConnectionEvent::Closed`].
///
/// It begins with what is so already: lost, blocked or closed. It holds nothing up and does not keep the connection open. Who
/// lags behind by more than 64 events misses the oldest of them, never the latest.
pub struct Events {
    listener: Listener,
    first: Option<ConnectionEvent>,
    next: u64,
}

impl Events {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let listener = Listener::new(shared);
        let (first, next) = shared.look(|state| (state.log.first(), state.log.end()));
        Self { listener, first, next }
    }

    /// The next event; `None` behind [`ConnectionEvent::Closed`]. Cancel safe.
    pub async fn next(&mut self) -> Option<ConnectionEvent> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<ConnectionEvent>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        let Self { listener, next, .. } = self;
        listener.shared.look(|state| state.log.poll_next(cx, listener.id, next, &mut state.stale))
    }
}

impl Stream for Events {
    type Item = ConnectionEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ConnectionEvent>> {
        self.poll(cx)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("next", &self.next).finish_non_exhaustive()
    }
}

/// Waits for a state that `is_it` says yes to, or the last one.
pub(super) async fn state_where(
    shared: &Arc<Shared>,
    mut is_it: impl FnMut(&ConnectionState) -> bool,
) -> ConnectionState {
    let listener = Listener::new(shared);
    loop {
        let (state, next) = shared.look(|state| (state.log.state(), state.log.end()));
        if matches!(state, ConnectionState::Closed(_)) || is_it(&state) {
            return state;
        }
        poll_fn(|cx| {
            listener.shared.look(|state| match state.log.end() == next {
                true => state.log.wait(cx, listener.id, &mut state.stale),
                false => Poll::Ready(()),
            })
        })
        .await;
    }
}
