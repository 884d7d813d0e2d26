use alloc::collections::VecDeque;

use bytes::BytesMut;

/// What may not be sent yet: nothing may follow `tx.commit` on its channel until `tx.commit-ok` has come.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// One run of frames for each commit that is not answered: what was to be sent after it, up to the next commit.
    runs: VecDeque<BytesMut>,
}

impl Held {
    /// Whether a commit is not answered.
    pub(super) fn is_committing(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Where to put a frame; `None` when it may be sent.
    pub(super) fn tail(&mut self) -> Option<&mut BytesMut> {
        self.runs.back_mut()
    }

    /// How many bytes wait for the last commit.
    pub(super) fn len(&self) -> usize {
        self.runs.back().map_or(0, BytesMut::len)
    }

    /// A commit has been sent, or put at the end of what is held back.
    pub(super) fn on_commit(&mut self) {
        self.runs.push_back(BytesMut::new());
    }

    /// A commit is answered: gives the frames that may be sent now.
    pub(super) fn on_commit_ok(&mut self) -> BytesMut {
        self.runs.pop_front().unwrap_or_default()
    }

    /// The channel has ended.
    pub(super) fn clear(&mut self) {
        self.runs.clear();
    }
}
