//! Confirms of several messages in one, or in another order: a server may do as it likes.

use std::collections::{BTreeMap, BTreeSet};

use hopmq_sim::Random;

use super::frames::{BASIC_ACK, BASIC_NACK, CHANNEL_OPEN_OK, CONFIRM_SELECT_OK, Frame};

/// What each channel's client has been told.
#[derive(Debug, Default)]
pub(super) struct Confirms(BTreeMap<u16, Told>);

/// Tags from 1 to `all` have been confirmed or refused, and these others.
#[derive(Debug, Default)]
struct Told {
    all: u64,
    others: BTreeSet<u64>,
}

impl Told {
    fn add(&mut self, tag: u64) -> bool {
        let is_new = tag > self.all && self.others.insert(tag);
        while self.others.remove(&(self.all + 1)) {
            self.all += 1;
        }
        is_new
    }

    /// Those that a confirm is about, and that nobody has been told of.
    fn tell(&mut self, tag: u64, multiple: bool) -> Vec<u64> {
        let first = if multiple { self.all + 1 } else { tag };
        (first..=tag).filter(|tag| self.add(*tag)).collect()
    }
}

impl Confirms {
    /// The frames with their confirms rearranged.
    pub(super) fn mangle(&mut self, frames: Vec<Frame>, random: &mut Random) -> Vec<Frame> {
        let mut out = Vec::with_capacity(frames.len());
        // Confirms of a channel that nothing of that channel stands between.
        let mut runs: BTreeMap<u16, Vec<(u64, bool)>> = BTreeMap::new();
        for frame in frames {
            let id = frame.id();
            if id == Some(BASIC_ACK)
                && let Some(ack @ (1.., _)) = tag(&frame)
            {
                runs.entry(frame.channel).or_default().push(ack);
                continue;
            }
            for channel in runs
                .keys()
                .copied()
                .filter(|it| *it == frame.channel || frame.channel == 0)
                .collect::<Vec<_>>()
            {
                self.write(channel, runs.remove(&channel).unwrap_or_default(), random, &mut out);
            }
            if id == Some(BASIC_NACK)
                && let Some((tag, multiple)) = tag(&frame)
            {
                self.0.entry(frame.channel).or_default().tell(tag, multiple);
            }
            if id == Some(CHANNEL_OPEN_OK) || id == Some(CONFIRM_SELECT_OK) {
                self.0.remove(&frame.channel);
            }
            out.push(frame);
        }
        for (channel, run) in runs {
            self.write(channel, run, random, &mut out);
        }
        out
    }

    fn write(&mut self, channel: u16, run: Vec<(u64, bool)>, random: &mut Random, out: &mut Vec<Frame>) {
        let told = self.0.entry(channel).or_default();
        let before = told.all;
        let mut tags: Vec<u64> = run.iter().flat_map(|(tag, multiple)| told.tell(*tag, *multiple)).collect();
        match random.below(3) {
            0 => out.extend(run.into_iter().map(|(tag, multiple)| ack(channel, tag, multiple))),
            1 => {
                for left in (1..tags.len()).rev() {
                    tags.swap(left, random.below(left as u64 + 1) as usize);
                }
                out.extend(tags.into_iter().map(|tag| ack(channel, tag, false)));
            }
            _ => {
                let others = tags.into_iter().filter(|tag| *tag > told.all);
                let mut acks: Vec<Frame> = others.map(|tag| ack(channel, tag, false)).collect();
                if told.all > before {
                    let at = random.below(acks.len() as u64 + 1) as usize;
                    acks.insert(at, ack(channel, told.all, true));
                }
                out.extend(acks);
            }
        }
    }
}

/// The delivery tag of a confirm, and whether it is of all before it too.
fn tag(frame: &Frame) -> Option<(u64, bool)> {
    let tag = frame.payload.get(4..12)?.first_chunk()?;
    Some((u64::from_be_bytes(*tag), frame.payload.get(12)? & 1 == 1))
}

fn ack(channel: u16, tag: u64, multiple: bool) -> Frame {
    let mut arguments = [0; 9];
    arguments[..8].copy_from_slice(&tag.to_be_bytes());
    arguments[8] = u8::from(multiple);
    Frame::method(channel, BASIC_ACK, &arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever it makes of them, the same tags are confirmed, each once, and a `multiple` covers nothing that was not.
    #[test]
    fn the_same_messages_are_confirmed_each_once() {
        for seed in 0..500 {
            let mut random = Random::new(seed);
            let mut confirms = Confirms::default();
            let (mut said, mut heard) = (Told::default(), Told::default());
            let mut highest = 0;
            for _ in 0..20 {
                let mut frames = Vec::new();
                for _ in 0..random.below(5) {
                    if random.percent(30) {
                        highest += random.between(1, 4);
                        said.tell(highest, true);
                        frames.push(ack(1, highest, true));
                    } else if said.others.len() < 5 {
                        highest += random.between(1, 3);
                        said.tell(highest, false);
                        frames.push(ack(1, highest, false));
                    }
                }
                for frame in confirms.mangle(frames, &mut random) {
                    let (tag, multiple) = tag(&frame).unwrap();
                    assert!(
                        !heard.tell(tag, multiple).is_empty(),
                        "{tag} is confirmed again, in seed {seed}"
                    );
                    assert!(heard.all <= said.all, "{tag} confirms what was not, in seed {seed}");
                }
                assert_eq!((said.all, &said.others), (heard.all, &heard.others), "seed {seed}");
            }
        }
    }
}
