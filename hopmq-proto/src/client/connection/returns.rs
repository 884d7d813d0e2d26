use alloc::boxed::Box;
use alloc::collections::VecDeque;

use crate::client::Returned;
use crate::lookup::Lookup;

/// The mandatory publishes of one channel that are not confirmed yet: what a return can be of.
#[derive(Debug, Default)]
pub(super) struct Returns {
    /// By tag, oldest first.
    waiting: VecDeque<Mandatory>,
    /// How many of those that have not come back look the same.
    alike: Lookup<Fingerprint, usize>,
    /// The tag that the last return was attributed to.
    last_returned: u64,
}

#[derive(Debug)]
struct Mandatory {
    tag: u64,
    fingerprint: Fingerprint,
    returned: Option<Box<Returned>>,
}

/// What identifies a message that comes back: `basic.return` carries no tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint {
    /// Exchange, routing key and body.
    message: u64,
    /// The encoded properties, which a server may write in another way than we did.
    properties: u64,
}

impl Fingerprint {
    pub(super) fn of(exchange: &[u8], routing_key: &[u8], properties: &[u8], body: &[u8]) -> Self {
        Self {
            message: [exchange, routing_key, body].into_iter().fold(0, digest),
            properties: digest(0, properties),
        }
    }
}

/// A fast hash of no cryptographic worth, eight bytes at a time.
fn digest(seed: u64, bytes: &[u8]) -> u64 {
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    let (words, rest) = bytes.as_chunks::<8>();
    let hash =
        words.iter().fold(mix(seed, bytes.len() as u64), |hash, word| mix(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, octet| mix(hash, u64::from(*octet)))
}

impl Returns {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn push(&mut self, tag: u64, fingerprint: Fingerprint) {
        self.waiting.push_back(Mandatory { tag, fingerprint, returned: None });
        *self.alike.or_default(fingerprint) += 1;
    }

    /// Attributes a return to the oldest publish that it can be of; gives it back when there is none.
    ///
    /// Returns come in the order of the publishes, so those behind the last returned one come first. A publish with
    /// the same properties is preferred, but a server may have written them anew.
    pub(super) fn on_return(&mut self, mut returned: Box<Returned>) -> Option<Box<Returned>> {
        let m = &returned.message;
        let wanted =
            Fingerprint::of(m.exchange_bytes(), m.routing_key_bytes(), m.properties_bytes(), m.body());
        let behind = self.waiting.partition_point(|m| m.tag <= self.last_returned);
        let mut order = (behind..self.waiting.len()).chain(0..behind);
        let waiting = |at: usize| self.waiting.get(at).filter(|m| m.returned.is_none());
        let (found, ambiguous) = match self.alike.get(&wanted) {
            Some(count) => {
                (order.find(|at| waiting(*at).is_some_and(|m| m.fingerprint == wanted)), *count > 1)
            }
            None => {
                let mut alike =
                    order.filter(|at| waiting(*at).is_some_and(|m| m.fingerprint.message == wanted.message));
                (alike.next(), alike.next().is_some())
            }
        };
        let Some(mandatory) = found.and_then(|at| self.waiting.get_mut(at)) else { return Some(returned) };
        returned.ambiguous = ambiguous;
        self.last_returned = mandatory.tag;
        mandatory.returned = Some(returned);
        let fingerprint = mandatory.fingerprint;
        self.forget_one(fingerprint);
        None
    }

    /// The publish with this tag is confirmed: what came back of it, if it did.
    pub(super) fn take(&mut self, tag: u64) -> Option<Box<Returned>> {
        let at = self.waiting.binary_search_by_key(&tag, |mandatory| mandatory.tag).ok()?;
        let mandatory = self.waiting.remove(at)?;
        if mandatory.returned.is_none() {
            self.forget_one(mandatory.fingerprint);
        }
        mandatory.returned
    }

    /// Every publish up to this tag is confirmed, and nobody waits for it any more.
    pub(super) fn forget_up_to(&mut self, tag: u64) {
        while let Some(oldest) = self.waiting.front().map(|m| m.tag).filter(|oldest| *oldest <= tag) {
            self.take(oldest);
        }
    }

    fn forget_one(&mut self, fingerprint: Fingerprint) {
        if let Some(count) = self.alike.get_mut(&fingerprint) {
            *count -= 1;
            if *count == 0 {
                self.alike.remove(&fingerprint);
            }
        }
    }
}
