use alloc::collections::VecDeque;

use bytes::BytesMut;

/// What may not be sent yet: nothing may follow `tx.commit` on its channel until `tx.commit-ok` has come.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// One for each commit that is not answered.
    runs: VecDeque<Run>,
}

/// Frames that were to be sent after a commit, up to the next one.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) frames: BytesMut,
    /// How many bytes of them answer what the server sent.
    pub(super) answers: usize,
}

impl Held {
    /// Whether a commit is not answered.
    pub(super) fn is_committing(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Where to put a frame; `None` when it may be sent.
    pub(super) fn tail(&mut self) -> Option<&mut BytesMut> {
        self.runs.back_mut().map(|run| &mut run.frames)
    }

    /// How many bytes wait for the last commit.
    pub(super) fn len(&self) -> usize {
        self.runs.back().map_or(0, |run| run.frames.len())
    }

    /// What was put at the end since it held `len` bytes is an answer. Gives how many bytes of answers wait there.
    pub(super) fn count_answers(&mut self, len: usize) -> usize {
        self.runs.back_mut().map_or(0, |run| {
            run.answers += run.frames.len().saturating_sub(len);
            run.answers
        })
    }

    /// A commit has been sent, or put at the end of what is held back.
    pub(super) fn on_commit(&mut self) {
        self.runs.push_back(Run::default());
    }

    /// A commit is answered: gives what may be sent now.
    pub(super) fn on_commit_ok(&mut self) -> Run {
        self.runs.pop_front().unwrap_or_default()
    }

    /// The channel has ended.
    pub(super) fn clear(&mut self) {
        self.runs.clear();
    }
}
