use hopmq_proto::client::{Config, Event, Settle, Token};

#[derive(Debug, Default)]
pub(crate) struct Counts(());

#[derive(Debug)]
pub(crate) struct Meter;

#[allow(clippy::unused_self)]
impl Counts {
    pub(crate) const fn on_publish(&mut self, _confirm: Option<Token>) {}

    pub(crate) const fn on_settled(&mut self, _settle: Settle) {}

    pub(crate) const fn on_event(&mut self, _event: &Event) {}

    pub(crate) const fn on_input(&mut self, _bytes: usize) {}

    pub(crate) const fn on_output(&mut self, _bytes: usize, _waiting: usize) {}

    pub(crate) const fn on_kept(&mut self, _bytes: usize) {}

    pub(crate) const fn take(&mut self) -> Self {
        Self(())
    }
}

#[allow(clippy::unused_self)]
impl Meter {
    pub(crate) const fn new(_config: &Config) -> Self {
        Self
    }

    pub(crate) const fn flush(&self, _counts: &Counts) {}
}
