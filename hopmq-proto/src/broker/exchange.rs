use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::amqp::{FieldTable, FieldValue, ShortStr};

use super::arguments::{assert_same, type_name};
use super::fault::{self, Fault};
use super::id::{ExchangeId, QueueId};
use super::queue::inequivalent;
use super::route::Routes;

/// How an exchange chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Direct,
    Fanout,
    Topic,
    Headers,
}

impl Kind {
    pub(super) fn from_name(name: &ShortStr) -> Result<Self, Fault> {
        Ok(match name.as_bytes() {
            b"direct" => Self::Direct,
            b"fanout" => Self::Fanout,
            b"topic" => Self::Topic,
            b"headers" => Self::Headers,
            _ => return Err(Fault::precondition(format!("unknown exchange type '{name}'"))),
        })
    }

    /// Whether it looks at routing keys.
    pub(super) const fn has_keys(self) -> bool {
        matches!(self, Self::Direct | Self::Topic)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
        }
    }
}

/// Where a binding leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Destination {
    Queue(QueueId),
    Exchange(ExchangeId),
}

/// A binding as its source knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Binding {
    pub(super) destination: Destination,
    pub(super) key: ShortStr,
    /// The arguments in canonical form.
    pub(super) arguments: Bytes,
}

/// A binding as its destination knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Incoming {
    pub(super) source: ExchangeId,
    pub(super) key: ShortStr,
    pub(super) arguments: Bytes,
}

/// What an exchange was declared with.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) kind: Kind,
    pub(super) durable: bool,
    pub(super) auto_delete: bool,
    pub(super) internal: bool,
    pub(super) arguments: FieldTable,
}

/// Where messages are published to.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) name: ShortStr,
    /// Its virtual host, by index.
    pub(super) vhost: usize,
    pub(super) declared: Declared,
    /// Where messages go that match no binding.
    pub(super) alternate: Option<ShortStr>,
    pub(super) bindings: BTreeSet<Binding>,
    pub(super) incoming: BTreeSet<Incoming>,
    routes: Routes,
    /// The last publish that came by here.
    pub(super) routed_by: u64,
}

impl Exchange {
    pub(super) fn new(
        name: ShortStr,
        vhost: usize,
        vhost_name: &str,
        declared: Declared,
    ) -> Result<Self, Fault> {
        let alternate = match declared.arguments.get("alternate-exchange") {
            None => None,
            Some(FieldValue::String(name)) => ShortStr::new(name.clone().into_bytes()).ok(),
            Some(other) => {
                return Err(Fault::precondition(format!(
                    "invalid type '{}' for arg 'alternate-exchange' in {}",
                    type_name(other),
                    fault::exchange(name.as_bytes(), vhost_name)
                )));
            }
        };
        let routes = Routes::new(declared.kind);
        Ok(Self {
            name,
            vhost,
            declared,
            alternate,
            bindings: BTreeSet::new(),
            incoming: BTreeSet::new(),
            routes,
            routed_by: 0,
        })
    }

    /// Whether it was there from the start: nobody else can use these names.
    pub(super) fn is_predeclared(&self) -> bool {
        self.name.is_empty() || self.name.as_bytes().starts_with(b"amq.")
    }

    /// Adds a binding that is not there yet.
    pub(super) fn bind(&mut self, binding: Binding, arguments: &FieldTable) {
        self.routes.add(&binding, arguments);
        self.bindings.insert(binding);
    }

    /// Removes a binding, and returns whether it was there.
    pub(super) fn unbind(&mut self, binding: &Binding) -> bool {
        let was_there = self.bindings.remove(binding);
        if was_there {
            self.routes.remove(binding);
        }
        was_there
    }

    /// Appends where a message with this routing key and these headers goes. May name a destination twice.
    pub(super) fn matches(&mut self, key: &[u8], headers: Option<&FieldTable>, out: &mut Vec<Destination>) {
        self.routes.matches(key, headers, out);
    }

    /// Refuses a second declaration that differs from the first.
    pub(super) fn check_declared(&self, again: &Declared, vhost: &str) -> Result<(), Fault> {
        let what = fault::exchange(self.name.as_bytes(), vhost);
        let declared = &self.declared;
        if declared.kind != again.kind {
            return Err(inequivalent("type", &what, again.kind.name(), declared.kind.name()));
        }
        let same = |name: &str, current: bool, received: bool| {
            if current == received {
                return Ok(());
            }
            Err(inequivalent(name, &what, &received.to_string(), &current.to_string()))
        };
        same("durable", declared.durable, again.durable)?;
        same("auto_delete", declared.auto_delete, again.auto_delete)?;
        same("internal", declared.internal, again.internal)?;
        assert_same(&["alternate-exchange"], &what, &declared.arguments, &again.arguments)
    }
}
