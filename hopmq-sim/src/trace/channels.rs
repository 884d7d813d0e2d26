use std::collections::BTreeSet;

/// Which channels of a connection are in use, besides number 1.
#[derive(Debug, Default)]
pub(super) struct Channels(BTreeSet<u16>);

impl Channels {
    /// The number of a channel, where a reader has to know it.
    pub(super) fn told(&mut self, channel: u16) -> Option<u16> {
        if channel > 1 {
            self.0.insert(channel);
        }
        (channel > 0 && !self.0.is_empty()).then_some(channel)
    }

    pub(super) fn close(&mut self, channel: u16) {
        self.0.remove(&channel);
    }
}
