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
#[derive(Debug)]
pub(super) struct Channels {
    /// Slot `n` is channel `n + 1`.
    slots: Vec<Slot>,
    free: BinaryHeap<Reverse<u16>>,
    max: u16,
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
    pub(super) fn new(max: u16) -> Self {
        Self { slots: Vec::new(), free: BinaryHeap::new(), max }
    }

    /// Opens a channel with the lowest free number.
    pub(super) fn open(&mut self, core: &mut Core, now: Instant) -> Result<(ChannelId, Token), CommandError> {
        if let Some(Reverse(number)) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(usize::from(number) - 1)
        {
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
        match self.slots.get_mut(usize::from(number).checked_sub(1)?) {
            Some(Slot { state: SlotState::Used(channel), .. }) => Some(channel),
            _ => None,
        }
    }

    /// This very channel.
    pub(super) fn by_id(&mut self, id: ChannelId) -> Result<&mut Channel, CommandError> {
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
        if let Some(slot) = self.slots.get_mut(usize::from(number).wrapping_sub(1)) {
            slot.state = SlotState::Free(reason);
            self.free.push(Reverse(number));
        }
    }

    /// Resolves everything that waits on any channel, for the connection has ended.
    pub(super) fn end(&mut self, core: &mut Core, reason: &Arc<CloseReason>) {
        for slot in &mut self.slots {
            if let SlotState::Used(channel) = &mut slot.state {
                channel.end(core, reason);
                slot.state = SlotState::Free(reason.clone());
            }
        }
    }
}
