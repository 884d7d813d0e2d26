//! Where in its queue a message comes again that was put back.
//!
//! RabbitMQ: "When a message is requeued, it will be placed to its original position in its queue, if possible. If not (due
//! to concurrent deliveries and acknowledgements from other consumers when multiple consumers share a queue), the message
//! will be requeued to a position closer to queue head" (Consumer Acknowledgements and Publisher Confirms). So it is for a
//! classic queue, with no priorities, no limits and no time to live, whose consumer is the only one:
//!
//! 1. What is not marked as redelivered was never out, and so is behind everything that was delivered before.
//! 2. What a consumer puts back comes again before everything that is behind it, as soon as the broker knows. It knows by
//!    the time of the delivery that only this put-back, or what was settled after it, made room for: with a prefetch of p
//!    and s messages of the channel settled before, by its delivery p + s + 1.
//! 3. It knows by the time, too, at which something comes again that was put back later or at once with it.
//! 4. When a channel is closed, and the broker has said so, all is back that was not settled, or put back and not come
//!    again: it comes before everything that is behind it from the next consumer's first delivery on.
//!
//! With a prefetch of 1 that is: what was put back is what comes next. None of it holds beside another consumer, and one
//! that the client has lost may be there still, or appear late when the broker reads late. What a lost connection held
//! comes back at a time that nobody is told.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::checker::Finding;
use super::history::{Delivered, MessageId};

/// The order of one queue, and what of it its only consumer may expect next.
#[derive(Debug, Default)]
pub struct Place {
    /// The consumers that the broker may have, now or when it reads what it has not read yet.
    present: BTreeSet<usize>,
    /// The one that is there, as far as the client knows.
    life: Life,
    /// What is back in the queue, by its position there.
    due: BTreeMap<u64, Due>,
    /// Positions of what has come without a mark.
    positions: HashMap<MessageId, u64>,
    last_position: u64,
    /// Somebody deletes the queue, and has so often: what was in it need not come.
    is_going: bool,
    deletions: usize,
}

/// A consumer on its channel.
#[derive(Debug, Default)]
struct Life {
    number: usize,
    /// How often the queue had been deleted before it was started.
    deletions: usize,
    /// So many may be unsettled; without a limit it is not known what the broker has sent when.
    prefetch: usize,
    /// No other consumer takes anything.
    is_sole: bool,
    came: usize,
    settled: usize,
    put_backs: usize,
    /// What is not settled, by its number among what came: its position, where that is known.
    unsettled: BTreeMap<usize, Option<(u64, MessageId)>>,
}

/// It is to come again.
#[derive(Debug, Clone, Copy)]
struct Due {
    id: MessageId,
    /// After so many deliveries the broker knows.
    after: usize,
    /// The number of its put-back.
    put_back: usize,
}

impl Place {
    /// A consumer is about to be started.
    pub fn begin(&mut self, number: usize, prefetch: u16) {
        let is_sole = self.present.is_empty();
        if !is_sole {
            self.due.clear();
        }
        self.present.insert(number);
        let prefetch = if prefetch == 0 { usize::MAX } else { prefetch.into() };
        self.life = Life { number, deletions: self.deletions, prefetch, is_sole, ..Life::default() };
    }

    /// It goes on under another number, behind a gap: there may be others on connections that are lost.
    pub fn resume(&mut self, number: usize) {
        self.lost();
        self.present.insert(number);
        let Life { deletions, prefetch, .. } = self.life;
        self.life = Life { number, deletions, prefetch, ..Life::default() };
    }

    /// The broker has no connection but the one that this consumer is on.
    pub fn nobody_else(&mut self) {
        let number = self.life.number;
        self.present.retain(|other| *other == number);
        self.life.is_sole = true;
    }

    /// Whether it is known what is in the queue.
    const fn is_known(&self) -> bool {
        self.life.is_sole && !self.is_going && self.life.deletions == self.deletions
    }

    /// A message has come.
    pub fn delivered(&mut self, delivered: &Delivered) -> Option<Finding> {
        self.life.came += 1;
        let came = self.life.came;
        let id = delivered.id?;
        // Of what was sent again there may be more than one.
        let is_only = !delivered.possible_duplicate;
        let position = if delivered.redelivered {
            self.positions.get(&id).copied().filter(|_| is_only)
        } else {
            self.last_position += 1;
            if is_only {
                self.positions.insert(id, self.last_position);
            }
            Some(self.last_position)
        };
        self.life.unsettled.insert(came, position.filter(|_| is_only).map(|position| (position, id)));
        let position = position?;
        let own = self.due.remove(&position).map(|due| due.put_back);
        if !self.is_known() {
            return None;
        }
        let known = |due: &Due| came > due.after || own.is_some_and(|own| due.put_back <= own);
        let late = self.due.range(..position).map(|(_, due)| due).find(|due| known(due))?;
        Some(Finding::Misplaced { late: late.id, behind: id })
    }

    /// How many have come to this consumer: the number of the last.
    #[must_use]
    pub const fn came(&self) -> usize {
        self.life.came
    }

    /// One that came is settled, or all up to it.
    pub fn settled(&mut self, number: usize, multiple: bool, requeue: bool) {
        let is_known = self.is_known();
        let life = &mut self.life;
        let after = life.prefetch.saturating_add(life.settled);
        life.put_backs += usize::from(requeue);
        let first = if multiple { 0 } else { number };
        let settled: Vec<usize> = life.unsettled.range(first..=number).map(|(number, _)| *number).collect();
        for number in settled {
            life.settled += 1;
            let known = life.unsettled.remove(&number).flatten();
            if let Some((position, id)) = known.filter(|_| requeue && is_known) {
                self.due.insert(position, Due { id, after, put_back: life.put_backs });
            }
        }
    }

    /// Its channel is closed, as the broker has said.
    pub fn closed(&mut self) {
        let is_known = self.is_known();
        let life = std::mem::take(&mut self.life);
        self.present.remove(&life.number);
        if !is_known {
            return self.due.clear();
        }
        let unsettled = life.unsettled.into_values().flatten();
        self.due.extend(unsettled.map(|(position, id)| (position, Due { id, after: 0, put_back: 0 })));
        for due in self.due.values_mut() {
            (due.after, due.put_back) = (0, 0);
        }
    }

    /// It is cancelled, as the broker has said; its channel is there and holds what it holds.
    pub fn cancelled(&mut self) {
        self.present.remove(&self.life.number);
        self.life = Life::default();
        self.due.clear();
    }

    /// It has ended or is given up, and the broker may have it still.
    pub fn lost(&mut self) {
        // Also when the broker has crashed since it began: it may have been started again.
        self.present.insert(self.life.number);
        self.life.is_sole = false;
        self.due.clear();
    }

    /// The broker has crashed: it has no connections, and what is `transient` is gone.
    pub fn crashed(&mut self, transient: impl Fn(MessageId) -> bool) {
        self.present.clear();
        self.due.retain(|_, due| !transient(due.id));
    }

    /// Nothing of what was in the queue need be there.
    pub fn emptied(&mut self) {
        self.due.clear();
    }

    /// Somebody begins to delete the queue.
    pub fn going(&mut self) {
        self.is_going = true;
        self.emptied();
    }

    /// It is deleted, and may be there again. A consumer that was there before has ended, or will be told so.
    pub fn gone(&mut self) {
        self.is_going = false;
        self.deletions += 1;
        self.emptied();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(number: u32) -> MessageId {
        MessageId { publisher: 0, number }
    }

    const fn first(number: u32) -> Delivered {
        let at = std::time::Duration::ZERO;
        Delivered { at, consumer: 0, id: Some(id(number)), redelivered: false, possible_duplicate: false }
    }

    const fn again(number: u32) -> Delivered {
        Delivered { redelivered: true, ..first(number) }
    }

    /// A consumer that has had the messages from 0 on, so many.
    fn place(prefetch: u16, had: u32) -> Place {
        let mut place = Place::default();
        place.begin(0, prefetch);
        assert!((0..had).all(|number| place.delivered(&first(number)).is_none()));
        place
    }

    fn all(place: &mut Place, come: &[Delivered]) -> Vec<Option<Finding>> {
        come.iter().map(|delivered| place.delivered(delivered)).collect()
    }

    fn misplaced(late: u32, behind: u32) -> Option<Finding> {
        Some(Finding::Misplaced { late: id(late), behind: id(behind) })
    }

    #[test]
    fn with_a_prefetch_of_one_what_was_put_back_is_what_comes_next() {
        let mut good = place(1, 1);
        good.settled(1, false, true);
        assert_eq!(all(&mut good, &[again(0)]), [None]);
        good.settled(2, false, false);
        assert_eq!(all(&mut good, &[first(1)]), [None]);
        let mut bad = place(1, 1);
        bad.settled(1, false, true);
        assert_eq!(all(&mut bad, &[first(1), again(0)]), [misplaced(0, 1), None]);
    }

    #[test]
    fn what_was_sent_before_the_broker_knew_may_come_before() {
        // Three at once: when the second is put back, another one was on its way; when that is there, none is.
        let put_back = || {
            let mut place = place(3, 3);
            place.settled(1, false, false);
            place.settled(2, false, true);
            place
        };
        assert_eq!(all(&mut put_back(), &[first(3), again(1), first(4)]), [const { None }; 3]);
        assert_eq!(all(&mut put_back(), &[again(1), first(3), first(4)]), [const { None }; 3]);
        assert_eq!(all(&mut put_back(), &[first(3), first(4)]), [None, misplaced(1, 4)]);
        // Without a limit nobody knows what was on its way.
        let mut unlimited = place(0, 3);
        unlimited.settled(1, false, true);
        assert!((3..100).all(|number| unlimited.delivered(&first(number)).is_none()));
    }

    #[test]
    fn what_was_put_back_comes_in_its_order() {
        let mut at_once = place(5, 4);
        at_once.settled(4, true, true);
        assert_eq!(
            all(&mut at_once, &[again(0), again(1), again(2), again(3), first(4)]),
            [const { None }; 5]
        );
        let mut at_once = place(5, 4);
        at_once.settled(4, true, true);
        assert_eq!(all(&mut at_once, &[again(0), again(2), again(1)]), [None, misplaced(1, 2), None]);
        let one_by_one = |numbers: [usize; 2]| {
            let mut place = place(9, 4);
            numbers.into_iter().for_each(|number| place.settled(number, false, true));
            all(&mut place, &[again(2), again(1)])
        };
        assert_eq!(one_by_one([2, 3]), [misplaced(1, 2), None]);
        assert_eq!(one_by_one([3, 2]), [None, None], "the broker had not read of the other yet");
    }

    #[test]
    fn what_a_closed_channel_held_comes_first_and_in_order() {
        let closed = || {
            let mut place = place(5, 4);
            place.settled(2, false, false);
            place.settled(3, false, true);
            place.closed();
            place.begin(1, 1);
            place
        };
        assert_eq!(all(&mut closed(), &[again(0), again(2), again(3), first(4)]), [const { None }; 4]);
        assert_eq!(all(&mut closed(), &[first(4)]), [misplaced(0, 4)]);
        assert_eq!(all(&mut closed(), &[again(0), again(3)]), [None, misplaced(2, 3)]);
        let mut cancelled = place(5, 4);
        cancelled.cancelled();
        cancelled.begin(1, 5);
        assert_eq!(
            all(&mut cancelled, &[first(4), again(0)]),
            [const { None }; 2],
            "its channel may be there yet"
        );
    }

    #[test]
    fn nothing_is_known_beside_another_consumer() {
        // It has had one message, and puts it back.
        let behind = |mut place: Place| {
            assert_eq!(place.came(), 1);
            place.settled(1, false, true);
            place.delivered(&first(1)).is_some()
        };
        assert!(behind(place(1, 1)));
        let mut lost = place(1, 0);
        lost.lost();
        lost.begin(1, 1);
        assert_eq!(lost.delivered(&first(0)), None);
        assert!(!behind(lost));
        let resumed = || {
            let mut place = place(1, 0);
            place.resume(1);
            assert_eq!(place.delivered(&first(0)), None);
            place
        };
        assert!(!behind(resumed()));
        let mut only = resumed();
        only.nobody_else();
        assert!(behind(only), "the broker has said that there is no other");
        let mut crashed = place(1, 0);
        crashed.lost();
        crashed.crashed(|_| false);
        crashed.begin(1, 1);
        assert_eq!(crashed.delivered(&first(0)), None);
        assert!(behind(crashed), "a crash leaves no consumer");
    }

    #[test]
    fn what_is_gone_need_not_come() {
        let closed = || {
            let mut place = place(1, 1);
            place.closed();
            place
        };
        let next = |mut place: Place| {
            place.begin(1, 1);
            place.delivered(&first(1))
        };
        assert_eq!(next(closed()), misplaced(0, 1));
        let mut transient = closed();
        transient.crashed(|id| id.publisher == 0);
        assert_eq!(next(transient), None);
        let mut persistent = closed();
        persistent.crashed(|id| id.publisher == 1);
        assert_eq!(next(persistent), misplaced(0, 1));
        let mut deleted = closed();
        deleted.going();
        assert_eq!(next(deleted), None);
        // Who was there when it was deleted is told so later.
        let mut deleted = place(1, 1);
        deleted.going();
        deleted.gone();
        deleted.settled(1, false, true);
        assert_eq!(deleted.delivered(&first(1)), None);
        deleted.closed();
        assert_eq!(next(deleted), None);
    }

    #[test]
    fn of_what_was_sent_again_there_may_be_more_than_one() {
        let duplicate = |delivered| Delivered { possible_duplicate: true, ..delivered };
        let mut place = place(1, 0);
        assert_eq!(place.delivered(&duplicate(first(0))), None);
        place.settled(1, false, true);
        assert_eq!(
            all(&mut place, &[duplicate(first(1)), duplicate(again(0)), first(2)]),
            [const { None }; 3]
        );
    }
}
