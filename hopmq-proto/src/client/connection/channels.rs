use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::CommandError;
use super::channel::Channel;
use super::core::Core;
use crate::Instant;
use crate::client::{ChannelId, CloseReason, Token};

/// The channels of a connection, by number. A number is used again once both sides are done with it, and each use is
/// an incarnation of its own.
#[derive(Debug, Default)]
pub(super) struct Channels {
    /// Slot `n` is channel `n + 1`.
    slots: Vec<Slot>,
    free: BinaryHeap<Reverse<u16>>,
    max: u16,
    /// The number of the session's own channel, when there is one to spare.
    spare: Option<u16>,
    /// The session's own channel, which has the highest number.
    private: Option<Box<Channel>>,
    /// A consumer has ended the life before: they are started one by one, to see which it was.
    careful: bool,
}

#[derive(Debug)]
struct Slot {
    incarnation: u32,
    state: SlotState,
    /// Why the channel before this one ended: handles to it often outlive it by one.
    before: Option<Arc<CloseReason>>,
}

#[derive(Debug)]
enum SlotState {
    Used(Box<Channel>),
    /// Why the last channel here ended.
    Free(Arc<CloseReason>),
}

impl Channels {
    /// The connection is open, and may have channels up to `max`. A session keeps the last one for itself.
    pub(super) fn on_opened(&mut self, max: u16, keeps: bool) {
        self.spare = (keeps && max > 1).then_some(max);
        self.max = if self.spare.is_some() { max - 1 } else { max };
    }

    /// Opens a channel with the lowest free number.
    pub(super) fn open(&mut self, core: &mut Core, now: Instant) -> Result<(ChannelId, Token), CommandError> {
        let lowest = self.free.peek().map(|Reverse(number)| *number);
        if let Some(number) = lowest.filter(|number| *number <= self.max)
            && let Some(slot) = self.slots.get_mut(usize::from(number) - 1)
        {
            self.free.pop();
            slot.incarnation = slot.incarnation.wrapping_add(1);
            let id = ChannelId { number, incarnation: slot.incarnation };
            let (channel, token) = Channel::open(core, id, now);
            let ended = core::mem::replace(&mut slot.state, SlotState::Used(Box::new(channel)));
            slot.before = if let SlotState::Free(reason) = ended { Some(reason) } else { None };
            return Ok((id, token));
        }
        let number = u16::try_from(self.slots.len() + 1).ok().filter(|number| *number <= self.max);
        let id = ChannelId { number: number.ok_or(CommandError::TooManyChannels(self.max))?, incarnation: 0 };
        let (channel, token) = Channel::open(core, id, now);
        self.slots.push(Slot { incarnation: 0, state: SlotState::Used(Box::new(channel)), before: None });
        Ok((id, token))
    }

    /// The channel with this number, whichever it is.
    pub(super) fn by_number(&mut self, number: u16) -> Option<&mut Channel> {
        if let Some(private) = self.private.as_deref_mut().filter(|channel| channel.number() == number) {
            return Some(private);
        }
        match self.slots.get_mut(usize::from(number).checked_sub(1)?) {
            Some(Slot { state: SlotState::Used(channel), .. }) => Some(channel),
            _ => None,
        }
    }

    /// This very channel.
    pub(super) fn by_id(&mut self, id: ChannelId) -> Result<&mut Channel, CommandError> {
        if let Some(private) = self.private.as_deref_mut().filter(|channel| channel.id() == id) {
            return Ok(private);
        }
        match self.slots.get_mut(usize::from(id.number).wrapping_sub(1)) {
            Some(slot) if slot.incarnation == id.incarnation => match &mut slot.state {
                SlotState::Used(channel) => Ok(channel),
                SlotState::Free(reason) => Err(CommandError::Closed(reason.clone())),
            },
            Some(Slot { incarnation, before: Some(reason), .. })
                if *incarnation == id.incarnation.wrapping_add(1) =>
            {
                Err(CommandError::Closed(reason.clone()))
            }
            _ => Err(CommandError::Stale),
        }
    }

    /// Frees the number of a channel that both sides are done with.
    pub(super) fn free(&mut self, number: u16, reason: Arc<CloseReason>) {
        if self.private.as_ref().is_some_and(|channel| channel.number() == number) {
            self.private = None;
        } else if let Some(slot) = self.slots.get_mut(usize::from(number).wrapping_sub(1)) {
            slot.state = SlotState::Free(reason);
            self.free.push(Reverse(number));
        }
    }

    /// Resolves everything that waits on any channel, for the connection has ended.
    pub(super) fn end(&mut self, core: &mut Core, reason: &Arc<CloseReason>, now: Instant) {
        for slot in &mut self.slots {
            if let SlotState::Used(channel) = &mut slot.state {
                channel.end(core, reason, now);
                slot.state = SlotState::Free(reason.clone());
            }
        }
        self.private = None;
    }

    // Another life.

    /// Opens the session's own channel.
    pub(super) fn open_private(&mut self, core: &mut Core, now: Instant) -> Option<ChannelId> {
        let number = self.spare?;
        let id = ChannelId { number, incarnation: core.incarnation() };
        self.private = Some(Box::new(Channel::open_private(core, id, now)));
        Some(id)
    }

    /// The connection was lost. Channels that cannot come back end.
    pub(super) fn on_lost(&mut self, core: &mut Core, reason: &Arc<CloseReason>, repeat: bool, now: Instant) {
        self.private = None;
        for (slot, number) in self.slots.iter_mut().zip(1..) {
            if let SlotState::Used(channel) = &mut slot.state
                && !channel.on_lost(core, reason, repeat, now)
            {
                slot.state = SlotState::Free(reason.clone());
                self.free.push(Reverse(number));
            }
        }
    }

    /// Brings back what has not been yet. True when there is something.
    pub(super) fn resume_rest(&mut self, core: &mut Core, now: Instant) -> bool {
        if self.careful {
            self.resume(core, now);
            self.careful = core.resuming > 0;
        }
        self.careful
    }

    /// All that are in use.
    pub(super) fn used(&mut self) -> impl Iterator<Item = &mut Channel> {
        self.slots.iter_mut().filter_map(|slot| match &mut slot.state {
            SlotState::Used(channel) => Some(&mut **channel),
            SlotState::Free(_) => None,
        })
    }

    /// The server has closed the connection over a consumer that was to be started again. The one that it must have been
    /// is left out; where it can be one of several, they are started one by one in the next life.
    pub(super) fn leave_out_culprit(&mut self, core: &mut Core, reason: &Arc<CloseReason>) {
        let suspects = self.used().map(|channel| channel.starting().count()).sum::<usize>();
        self.careful |= suspects > 1;
        if suspects == 1 {
            self.used().for_each(|channel| channel.leave_out_first(core, reason));
        }
    }

    /// Brings back the channels that were lost; with care, the first of them. Those with a number that the server does not
    /// take any more end.
    pub(super) fn resume(&mut self, core: &mut Core, now: Instant) {
        let (max, careful) = (self.max, self.careful);
        for (slot, number) in self.slots.iter_mut().zip(1..) {
            match &mut slot.state {
                SlotState::Used(_) if careful && core.resuming > 0 => {}
                SlotState::Used(channel) if number <= max => channel.resume(core, careful, now),
                SlotState::Used(channel) => {
                    let reason = Arc::new(CloseReason::TooManyChannels(max));
                    channel.end(core, &reason, now);
                    slot.state = SlotState::Free(reason);
                    self.free.push(Reverse(number)); // a later server may take it again
                }
                SlotState::Free(_) => {}
            }
        }
    }
}
