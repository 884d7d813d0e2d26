use alloc::string::String;

use crate::amqp::{FieldTable, ShortStr};
use crate::lookup::Lookup;

use super::exchange::{Declared, Exchange, Kind};
use super::id::{ExchangeId, QueueId, Slab};

/// The exchanges that are there from the start, the default exchange among them.
const PREDECLARED: [(&str, Kind); 8] = [
    ("", Kind::Direct),
    ("amq.direct", Kind::Direct),
    ("amq.fanout", Kind::Fanout),
    ("amq.topic", Kind::Topic),
    ("amq.headers", Kind::Headers),
    ("amq.match", Kind::Headers),
    ("amq.rabbitmq.trace", Kind::Topic),
    ("amq.rabbitmq.log", Kind::Topic),
];

/// A namespace of exchanges and queues.
#[derive(Debug)]
pub(super) struct Vhost {
    pub(super) name: String,
    pub(super) queues: Lookup<ShortStr, QueueId>,
    pub(super) exchanges: Lookup<ShortStr, ExchangeId>,
    pub(super) bindings: usize,
}

impl Vhost {
    /// A virtual host with its predeclared exchanges, which go into `exchanges`.
    pub(super) fn new(name: String, index: usize, exchanges: &mut Slab<ExchangeId, Exchange>) -> Self {
        let mut vhost = Self { name, queues: Lookup::new(), exchanges: Lookup::new(), bindings: 0 };
        for (name, kind) in PREDECLARED {
            let name = ShortStr::from_static(name);
            let declared = Declared {
                kind,
                durable: true,
                auto_delete: false,
                internal: name == "amq.rabbitmq.trace",
                arguments: FieldTable::new(),
            };
            if let Ok(exchange) = Exchange::new(name.clone(), index, &vhost.name, declared) {
                vhost.exchanges.insert(name, exchanges.insert(exchange));
            }
        }
        vhost
    }
}
