//! W3C trace context in the headers of messages.

mod id;
mod parent;
mod state;

use std::fmt;
use std::str::FromStr;

use hopmq_proto::amqp::{FieldTable, Properties};
use hopmq_proto::client::Message;
use thiserror::Error;

pub use id::{SpanId, TraceId};
pub use state::TraceState;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Where in a distributed trace something happens, by <https://www.w3.org/TR/trace-context/>: what a message carries from
/// who publishes it to who consumes it.
///
/// It travels in two headers of the message, `traceparent` and `tracestate`, as strings. That is where OpenTelemetry's
/// instrumentations of AMQP 0-9-1 put it and look for it. What is read here is Level 2 of the recommendation, and so all of Level 1.
///
/// ```
/// use hopmq::{Properties, TraceContext};
///
/// let context: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?;
/// let mut properties = Properties::new().persistent();
/// context.inject(&mut properties); // publish with these
/// assert_eq!(TraceContext::of_properties(&properties), Some(context));
/// # Ok::<(), hopmq::TraceContextError>(())
/// ```
///
/// Nothing here makes random ids: a tracing system does that, and says what is to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that the next one is a child of: where it was published.
    pub parent_id: SpanId,
    /// Whether the caller may have recorded the span.
    pub sampled: bool,
    /// Whether the last seven bytes of the trace's id are random. Of Level 2; false where nothing is known.
    pub random: bool,
    /// What the tracing systems on the way have added.
    pub state: TraceState,
}

/// What is wrong with a trace context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TraceContextError {
    /// It is no `traceparent`: too short or too long, not of lowercase hexadecimal digits, or of version ff.
    #[error("malformed traceparent")]
    TraceParent,
    /// A `traceparent` with an id that is zero.
    #[error("a trace or span with the id zero")]
    Zero,
    /// An entry of a `tracestate` has characters that do not belong there, or too many.
    #[error("malformed entry in tracestate")]
    TraceState,
    /// A `tracestate` with two entries of one key.
    #[error("a key twice in tracestate")]
    DuplicateKey,
    /// A `tracestate` with more than 32 entries, empty ones counted.
    #[error("more than 32 entries in tracestate")]
    TooManyEntries,
}

impl TraceContext {
    /// A span of a trace. Not sampled, not known to be random, without state.
    #[must_use]
    pub const fn new(trace_id: TraceId, parent_id: SpanId) -> Self {
        Self { trace_id, parent_id, sampled: false, random: false, state: TraceState::new() }
    }

    /// Reads the two headers.
    ///
    /// A malformed `tracestate` is dropped, all of it, as the recommendation demands: it must not make a trace end. To see
    /// what is wrong with it, parse it as a [`TraceState`].
    ///
    /// # Errors
    ///
    /// When the `traceparent` is malformed. Who gets such a message begins a new trace.
    pub fn parse(traceparent: &str, tracestate: &str) -> Result<Self, TraceContextError> {
        let context: Self = traceparent.parse()?;
        Ok(Self { state: tracestate.parse().unwrap_or_default(), ..context })
    }

    /// The value of the header `traceparent`: 55 characters, version 00.
    #[must_use]
    pub fn traceparent(&self) -> String {
        self.to_string()
    }

    /// Puts the context into the headers, in place of another one.
    pub fn inject(&self, properties: &mut Properties) {
        let mut headers = properties.headers.take().unwrap_or_default();
        headers.remove(TRACESTATE); // another trace's, perhaps
        let mut headers = headers.with(TRACEPARENT, self.traceparent());
        if !self.state.is_empty() {
            headers = headers.with(TRACESTATE, self.state.to_string());
        }
        properties.headers = Some(headers);
    }

    /// The context that a message carries; a [`Delivery`](crate::Delivery) is a message.
    ///
    /// `None` when there is none, or none that can be read: a new trace begins there.
    ///
    /// ```no_run
    /// # fn example(delivery: hopmq::Delivery) {
    /// if let Some(context) = hopmq::TraceContext::of_message(&delivery) {
    ///     println!("published in {}", context.trace_id);
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn of_message(message: &Message) -> Option<Self> {
        Self::of_properties(&message.properties().ok()?)
    }

    /// The context in the headers of a message. The names are found in whatever case they are written.
    ///
    /// `None` when there is none, or none that can be read.
    #[must_use]
    pub fn of_properties(properties: &Properties) -> Option<Self> {
        let headers = properties.headers.as_ref()?;
        let parent = header(headers, TRACEPARENT)?;
        Self::parse(parent, header(headers, TRACESTATE).unwrap_or_default()).ok()
    }
}

fn header<'a>(headers: &'a FieldTable, name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(key, _)| key.as_bytes().eq_ignore_ascii_case(name.as_bytes()))?;
    str::from_utf8(value.as_bytes()?).ok() // some clients send bytes
}

/// Reads a `traceparent`; the state stays empty.
impl FromStr for TraceContext {
    type Err = TraceContextError;

    fn from_str(text: &str) -> Result<Self, TraceContextError> {
        parent::parse(text.as_bytes())
    }
}

/// The `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id, self.parent_id, parent::flags(self))
    }
}

#[cfg(test)]
mod tests;
