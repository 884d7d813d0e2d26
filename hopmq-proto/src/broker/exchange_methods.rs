use alloc::format;

use crate::amqp::{ReplyCode, ShortStr, exchange};

use super::dispatch::{Reply, unless};
use super::engine::Broker;
use super::exchange::{Declared, Destination, Exchange, Kind};
use super::fault::{self, Fault};
use super::id::ExchangeId;
use super::session::At;

fn not_default(name: &ShortStr) -> Result<(), Fault> {
    if name.is_empty() {
        return Err(Fault::refused("operation not permitted on the default exchange"));
    }
    Ok(())
}

impl Broker {
    pub(super) fn on_exchange_declare(&mut self, at: At, declare: exchange::Declare) -> Reply {
        let vhost = self.vhost_of(at);
        let name = declare.exchange.without_line_breaks();
        let no_wait = declare.no_wait;
        not_default(&name)?;
        if declare.passive {
            if self.find_exchange(vhost, name.as_bytes()).is_none() {
                return Err(Fault::no_exchange(name.as_bytes(), self.vhost_name(vhost)));
            }
        } else {
            self.declare_exchange(vhost, name, declare)?;
        }
        unless(no_wait, exchange::DeclareOk {})
    }

    fn declare_exchange(
        &mut self,
        vhost: usize,
        name: ShortStr,
        declare: exchange::Declare,
    ) -> Result<(), Fault> {
        let declared = Declared {
            kind: Kind::from_name(&declare.kind)?,
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
            arguments: declare.arguments,
        };
        let known = self.find_exchange(vhost, name.as_bytes());
        if let Some(exchange) = known.and_then(|id| self.exchanges.get(id)) {
            return exchange.check_declared(&declared, self.vhost_name(vhost));
        }
        if name.as_bytes().starts_with(b"amq.") {
            let text = format!("exchange name '{name}' contains reserved prefix 'amq.*'");
            return Err(Fault::refused(text));
        }
        let limit = self.config.max_exchanges_per_vhost;
        let Some(host) = self.vhosts.get_mut(vhost) else { return Ok(()) };
        if host.exchanges.len() >= limit {
            return Err(Fault::precondition(format!(
                "cannot declare exchange '{name}': exchange limit in vhost '{}' ({limit}) is reached",
                host.name
            )));
        }
        let exchange = Exchange::new(name.clone(), vhost, &host.name, declared)?;
        let id = self.exchanges.insert(exchange);
        host.exchanges.insert(name, id);
        Ok(())
    }

    pub(super) fn on_exchange_delete(&mut self, at: At, delete: &exchange::Delete) -> Reply {
        let vhost = self.vhost_of(at);
        let name = delete.exchange.without_line_breaks();
        not_default(&name)?;
        let what = || fault::exchange(name.as_bytes(), self.vhost_name(vhost));
        if name.as_bytes().starts_with(b"amq.") {
            return Err(Fault::refused(format!("deletion of system {} not allowed", what())));
        }
        if let Some(id) = self.find_exchange(vhost, name.as_bytes()) {
            let used = self.exchanges.get(id).is_some_and(|exchange| !exchange.bindings.is_empty());
            if delete.if_unused && used {
                return Err(Fault::precondition(format!("{} in use", what())));
            }
            self.remove_exchange(id);
        }
        unless(delete.no_wait, exchange::DeleteOk {})
    }

    pub(super) fn on_exchange_bind(&mut self, at: At, bind: &exchange::Bind) -> Reply {
        let (source, destination) = self.exchange_binding(at, &bind.source, &bind.destination)?;
        self.bind(source, Destination::Exchange(destination), &bind.routing_key, &bind.arguments)?;
        unless(bind.no_wait, exchange::BindOk {})
    }

    pub(super) fn on_exchange_unbind(&mut self, at: At, unbind: &exchange::Unbind) -> Reply {
        match self.exchange_binding(at, &unbind.source, &unbind.destination) {
            Ok((source, to)) => {
                let to = Destination::Exchange(to);
                self.unbind(source, to, &unbind.routing_key, &unbind.arguments)?;
            }
            Err(fault) if fault.code == ReplyCode::NOT_FOUND => {}
            Err(fault) => return Err(fault),
        }
        unless(unbind.no_wait, exchange::UnbindOk {})
    }

    fn exchange_binding(
        &mut self,
        at: At,
        source: &ShortStr,
        destination: &ShortStr,
    ) -> Result<(ExchangeId, ExchangeId), Fault> {
        let vhost = self.vhost_of(at);
        let (source, destination) = (source.without_line_breaks(), destination.without_line_breaks());
        not_default(&destination)?;
        not_default(&source)?;
        let find = |name: &ShortStr| {
            let found = self.find_exchange(vhost, name.as_bytes());
            found.ok_or_else(|| Fault::no_exchange(name.as_bytes(), self.vhost_name(vhost)))
        };
        Ok((find(&source)?, find(&destination)?))
    }
}
