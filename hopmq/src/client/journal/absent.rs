use std::marker::PhantomData;

use hopmq_proto::amqp::Publish;
use hopmq_proto::client::{ChannelId, Config, Event, Token};

use crate::client::{ConnectionEvent, Endpoint};

#[derive(Debug, Default)]
pub(crate) struct Journal(());

#[derive(Debug, Clone)]
pub(crate) struct Scope;

#[derive(Debug)]
pub(crate) struct Telling<'a>(PhantomData<&'a Scope>);

#[allow(clippy::unused_self)]
impl Journal {
    pub(crate) const fn on_event(&mut self, _event: &Event) {}

    pub(crate) const fn on_announced(&mut self, _event: &ConnectionEvent) {}

    pub(crate) const fn on_cancelled(&mut self, _channel: ChannelId) {}

    pub(crate) const fn on_call(&mut self, _channel: ChannelId, _method: &'static str, _token: Token) {}

    pub(crate) const fn on_publish(
        &mut self,
        _channel: ChannelId,
        _publish: &Publish<'_>,
        _bytes: usize,
        _token: Option<Token>,
    ) {
    }
}

#[allow(clippy::unused_self)]
impl Scope {
    pub(crate) const fn new(_config: &Config, _endpoints: &[Endpoint]) -> Self {
        Self
    }

    pub(crate) const fn connecting(&self, _endpoint: &Endpoint) {}

    pub(crate) const fn telling(&self) -> Telling<'_> {
        Telling(PhantomData)
    }
}

#[allow(clippy::unused_self)]
impl Telling<'_> {
    pub(crate) const fn take(&mut self, _journal: &mut Journal) {}
}
