/// Which deliveries of a channel can still be settled: a tag that the server does not know any more is 406, and the end
/// of the channel.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Those up to here have been settled, by a `multiple` or a recover.
    up_to: u64,
    /// The last one that has come.
    last: u64,
    /// Recovers that are not answered yet. Whatever comes before the answer was sent before everything was put back, and
    /// is put back too.
    recovering: usize,
}

impl Settled {
    pub(super) const fn has(&self, tag: u64) -> bool {
        tag <= self.up_to || self.recovering > 0
    }

    pub(super) fn on_delivery(&mut self, tag: u64) {
        self.last = self.last.max(tag);
    }

    pub(super) const fn on_multiple(&mut self, tag: u64) {
        self.up_to = tag;
    }

    pub(super) const fn on_recover(&mut self) {
        self.recovering += 1;
    }

    pub(super) fn on_recover_ok(&mut self) {
        self.recovering = self.recovering.saturating_sub(1);
        self.up_to = self.up_to.max(self.last);
    }
}
