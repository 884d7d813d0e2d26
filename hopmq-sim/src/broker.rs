use std::ops::Deref;

use crate::host::Host;

/// A broker on a simulated host: [`Host::broker`] starts it.
///
/// It derefs to [`hopmq::Broker`], which says what it can do; a crash of its host leaves it what
/// [`hopmq::Broker::crash`] says. It runs on without this handle.
#[derive(Debug, Clone)]
pub struct Broker {
    host: Host,
    broker: hopmq::Broker<Host>,
}

impl Broker {
    /// Where it listens.
    pub const PORT: u16 = 5672;

    pub(crate) const fn new(host: Host, broker: hopmq::Broker<Host>) -> Self {
        Self { host, broker }
    }

    /// The URI to [connect](Host::connect) to, from any host.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("amqp://{}", self.host.name())
    }

    /// Where it runs.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }
}

impl Deref for Broker {
    type Target = hopmq::Broker<Host>;

    fn deref(&self) -> &Self::Target {
        &self.broker
    }
}
