use core::fmt;

use crate::amqp::{Method, ShortStr, basic, exchange, queue};

/// Something that a session restores after a loss: what it declared and did not delete, and its consumers.
///
/// Each carries the method that restores it, with `no_wait` off. A filter looks at its fields:
///
/// ```
/// use hopmq_proto::client::Entity;
///
/// fn is_mine(entity: &Entity) -> bool {
///     match entity {
///         Entity::Queue { declare, .. } => declare.exclusive,
///         Entity::Exchange(declare) => !declare.durable,
///         _ => true,
///     }
/// }
/// # let _ = is_mine;
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Entity {
    /// An exchange.
    Exchange(exchange::Declare),
    /// A binding of an exchange to another.
    ExchangeBinding(exchange::Bind),
    /// A queue.
    Queue {
        /// Its name; of a queue that the server named, the name that it had last.
        name: ShortStr,
        /// What it was declared with. Its name is empty when the server is to choose one.
        declare: queue::Declare,
    },
    /// A binding of a queue to an exchange.
    Binding(queue::Bind),
    /// A consumer.
    Consumer(basic::Consume),
}

impl Entity {
    /// What a method makes, if it makes something. `declared` is the name in `declare-ok`.
    pub(crate) fn of(method: &Method, declared: Option<&ShortStr>) -> Option<Self> {
        Some(match method.clone() {
            Method::ExchangeDeclare(declare) => Self::Exchange(declare),
            Method::ExchangeBind(bind) => Self::ExchangeBinding(bind),
            Method::QueueDeclare(declare) => {
                Self::Queue { name: declared.unwrap_or(&declare.queue).clone(), declare }
            }
            Method::QueueBind(bind) => Self::Binding(bind),
            Method::BasicConsume(consume) => Self::Consumer(consume),
            _ => return None,
        })
    }

    /// The method that restores it.
    #[must_use]
    pub fn method(&self) -> Method {
        match self {
            Self::Exchange(declare) => declare.clone().into(),
            Self::ExchangeBinding(bind) => bind.clone().into(),
            Self::Queue { declare, .. } => declare.clone().into(),
            Self::Binding(bind) => bind.clone().into(),
            Self::Consumer(consume) => consume.clone().into(),
        }
    }
}

/// Such as `queue "orders"`, or `binding of queue "orders" to exchange "shop" with key "new"`.
impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange(declare) => write!(f, "exchange {:?}", declare.exchange),
            Self::ExchangeBinding(exchange::Bind { destination, source, routing_key, .. }) => {
                write!(
                    f,
                    "binding of exchange {destination:?} to exchange {source:?} with key {routing_key:?}"
                )
            }
            Self::Queue { name, .. } => write!(f, "queue {name:?}"),
            Self::Binding(queue::Bind { queue, exchange, routing_key, .. }) => {
                write!(f, "binding of queue {queue:?} to exchange {exchange:?} with key {routing_key:?}")
            }
            Self::Consumer(basic::Consume { queue, consumer_tag, .. }) if consumer_tag.is_empty() => {
                write!(f, "consumer of queue {queue:?}")
            }
            Self::Consumer(basic::Consume { queue, consumer_tag, .. }) => {
                write!(f, "consumer {consumer_tag:?} of queue {queue:?}")
            }
        }
    }
}
