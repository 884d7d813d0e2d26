use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use crate::amqp::{FieldTable, ShortStr};

use super::engine::Broker;
use super::exchange::{Binding, Destination, Exchange, Incoming, Kind};
use super::fault::Fault;
use super::id::ExchangeId;
use super::input::syntax;
use super::route::check_arguments;

impl Broker {
    /// Binds, unless that is bound already.
    pub(super) fn bind(
        &mut self,
        source: ExchangeId,
        destination: Destination,
        key: &ShortStr,
        arguments: &FieldTable,
    ) -> Result<(), Fault> {
        let Some(exchange) = self.exchanges.get_mut(source) else { return Ok(()) };
        if exchange.declared.kind == Kind::Headers {
            check_arguments(arguments)?;
        }
        let canonical = arguments.canonical().map_err(syntax)?;
        let binding = Binding { destination, key: key.clone(), arguments: canonical.clone() };
        if exchange.bindings.contains(&binding) {
            return Ok(());
        }
        let Some(vhost) = self.vhosts.get_mut(exchange.vhost) else { return Ok(()) };
        let limit = self.config.max_bindings_per_vhost;
        if vhost.bindings >= limit {
            let text = format!("cannot bind: binding limit in vhost '{}' ({limit}) is reached", vhost.name);
            return Err(Fault::precondition(text));
        }
        vhost.bindings += 1;
        exchange.bind(binding, arguments);
        let incoming = Incoming { source, key: key.clone(), arguments: canonical };
        if let Some(all) = self.incoming(destination) {
            all.insert(incoming);
        }
        Ok(())
    }

    /// Unbinds, if that is bound.
    pub(super) fn unbind(
        &mut self,
        source: ExchangeId,
        destination: Destination,
        key: &ShortStr,
        arguments: &FieldTable,
    ) -> Result<(), Fault> {
        let arguments = arguments.canonical().map_err(syntax)?;
        let incoming = Incoming { source, key: key.clone(), arguments };
        if self.incoming(destination).is_some_and(|all| all.remove(&incoming)) {
            self.unbind_all(destination, [incoming].into());
        }
        Ok(())
    }

    pub(super) fn incoming(&mut self, destination: Destination) -> Option<&mut BTreeSet<Incoming>> {
        match destination {
            Destination::Queue(id) => self.queues.get_mut(id).map(|queue| &mut queue.incoming),
            Destination::Exchange(id) => self.exchanges.get_mut(id).map(|exchange| &mut exchange.incoming),
        }
    }

    /// Removes these bindings from their sources, and with them the auto-delete exchanges that are left without any.
    pub(super) fn unbind_all(&mut self, destination: Destination, incoming: BTreeSet<Incoming>) {
        let mut work: Vec<(Destination, BTreeSet<Incoming>)> = vec![(destination, incoming)];
        while let Some((destination, incoming)) = work.pop() {
            for Incoming { source, key, arguments } in incoming {
                let Some(exchange) = self.exchanges.get_mut(source) else { continue };
                if !exchange.unbind(&Binding { destination, key, arguments }) {
                    continue;
                }
                let orphaned = exchange.declared.auto_delete && exchange.bindings.is_empty();
                if let Some(vhost) = self.vhosts.get_mut(exchange.vhost) {
                    vhost.bindings = vhost.bindings.saturating_sub(1);
                }
                if orphaned && let Some(exchange) = self.take_exchange(source) {
                    work.push((Destination::Exchange(source), exchange.incoming));
                }
            }
        }
    }

    /// Deletes an exchange and all its bindings.
    pub(super) fn remove_exchange(&mut self, id: ExchangeId) {
        let Some(exchange) = self.take_exchange(id) else { return };
        for Binding { destination, key, arguments } in exchange.bindings {
            if let Some(all) = self.incoming(destination) {
                all.remove(&Incoming { source: id, key, arguments });
            }
            if let Some(vhost) = self.vhosts.get_mut(exchange.vhost) {
                vhost.bindings = vhost.bindings.saturating_sub(1);
            }
        }
        self.unbind_all(Destination::Exchange(id), exchange.incoming);
    }

    fn take_exchange(&mut self, id: ExchangeId) -> Option<Exchange> {
        let exchange = self.exchanges.remove(id)?;
        if let Some(vhost) = self.vhosts.get_mut(exchange.vhost) {
            vhost.exchanges.remove(&exchange.name);
        }
        Some(exchange)
    }
}
