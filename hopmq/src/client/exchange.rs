use std::fmt;
use std::future::IntoFuture;

use hopmq_proto::amqp::{FieldTable, FieldValue, ShortStr, exchange};

use super::call::Call;
use super::channel::{Channel, short};
use super::queue::{Specified, Unspecified};
use super::{Error, arguments};

/// How an exchange chooses where messages go. See <https://www.rabbitmq.com/tutorials/amqp-concepts#exchanges>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExchangeKind {
    /// To bindings with the same routing key.
    Direct,
    /// To all bindings.
    Fanout,
    /// To bindings whose pattern fits the routing key: `*` is one word, `#` any number.
    Topic,
    /// To bindings whose arguments fit the message's headers.
    Headers,
    /// As a plugin of the broker chooses.
    Other(String),
}

/// By its name, as in a configuration file; one that AMQP does not know is a plugin's.
///
/// ```
/// use hopmq::ExchangeKind;
///
/// assert_eq!(ExchangeKind::from("topic"), ExchangeKind::Topic);
/// assert_eq!(ExchangeKind::from("x-random").to_string(), "x-random");
/// ```
impl From<&str> for ExchangeKind {
    fn from(name: &str) -> Self {
        match name {
            "direct" => Self::Direct,
            "fanout" => Self::Fanout,
            "topic" => Self::Topic,
            "headers" => Self::Headers,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for ExchangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExchangeKind {
    fn name(&self) -> &str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::Other(name) => name,
        }
    }
}

/// A declaration of an exchange. It can be awaited once [`durable`](DeclareExchange::durable),
/// [`transient`](DeclareExchange::transient) or [`passive`](DeclareExchange::passive) is said.
#[derive(Debug, Clone)]
#[must_use = "nothing is declared until it is awaited"]
pub struct DeclareExchange<L = Unspecified> {
    channel: Channel,
    declare: Result<exchange::Declare, Error>,
    lifetime: std::marker::PhantomData<L>,
}

impl DeclareExchange {
    pub(super) fn new(channel: Channel, name: &str, kind: &ExchangeKind) -> Self {
        let declare = short("exchange", name).and_then(|exchange| {
            let kind = short("exchange type", kind.name())?;
            Ok(exchange::Declare { exchange, kind, ..exchange::Declare::default() })
        });
        Self { channel, declare, lifetime: std::marker::PhantomData }
    }

    fn specify(self, set: impl FnOnce(&mut exchange::Declare)) -> DeclareExchange<Specified> {
        let mut declare = self.declare;
        if let Ok(declare) = &mut declare {
            set(declare);
        }
        DeclareExchange { channel: self.channel, declare, lifetime: std::marker::PhantomData }
    }

    /// The exchange survives a restart of the broker.
    pub fn durable(self) -> DeclareExchange<Specified> {
        self.specify(|declare| declare.durable = true)
    }

    /// The exchange goes when the broker restarts.
    pub fn transient(self) -> DeclareExchange<Specified> {
        self.specify(|_| ())
    }

    /// Only look whether the exchange is there; otherwise the channel is closed with 404.
    pub fn passive(self) -> DeclareExchange<Specified> {
        self.specify(|declare| declare.passive = true)
    }
}

impl<L> DeclareExchange<L> {
    fn set(mut self, set: impl FnOnce(&mut exchange::Declare)) -> Self {
        if let Ok(declare) = &mut self.declare {
            set(declare);
        }
        self
    }

    /// The exchange is deleted when its last binding goes.
    pub fn auto_delete(self) -> Self {
        self.set(|declare| declare.auto_delete = true)
    }

    /// Only other exchanges may publish to it.
    pub fn internal(self) -> Self {
        self.set(|declare| declare.internal = true)
    }

    /// `alternate-exchange`: where messages go that fit no binding. See <https://www.rabbitmq.com/docs/ae>.
    pub fn alternate_exchange(self, exchange: &str) -> Self {
        self.argument("alternate-exchange", exchange)
    }

    /// The exchange holds a message for as many milliseconds as its header `x-delay` says, and then chooses where it goes
    /// as its kind does. Needs RabbitMQ's plugin `rabbitmq_delayed_message_exchange`.
    ///
    /// ```no_run
    /// # async fn example(channel: hopmq::Channel) -> Result<(), hopmq::Error> {
    /// use hopmq::ExchangeKind;
    ///
    /// channel.declare_exchange("later", &ExchangeKind::Topic).delayed().durable().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn delayed(mut self) -> Self {
        let Ok(declare) = &mut self.declare else { return self };
        let kind = std::mem::replace(&mut declare.kind, ShortStr::from_static("x-delayed-message"));
        self.argument("x-delayed-type", kind)
    }

    /// Sets any argument.
    pub fn argument(mut self, name: &str, value: impl Into<FieldValue>) -> Self {
        arguments::put(&mut self.declare, |declare| &mut declare.arguments, name, Ok(value.into()));
        self
    }

    /// Sets all arguments, in place of those set before.
    pub fn arguments(self, arguments: FieldTable) -> Self {
        self.set(|declare| declare.arguments = arguments)
    }
}

impl DeclareExchange<Specified> {
    /// Declares it without an answer to wait for; see [`NoWait`](super::NoWait).
    ///
    /// # Errors
    ///
    /// As for [`NoWait`](super::NoWait), and when an argument cannot be encoded.
    pub fn no_wait(self) -> Result<(), Error> {
        let declare = exchange::Declare { no_wait: true, ..self.declare? };
        self.channel.send_no_wait(declare.into())
    }
}

impl IntoFuture for DeclareExchange<Specified> {
    type Output = Result<(), Error>;
    type IntoFuture = Call<()>;

    fn into_future(self) -> Call<()> {
        match self.declare {
            Ok(declare) => Call::send(&self.channel.inner, declare, |_, _| ()),
            Err(error) => Call::refused(error),
        }
    }
}
