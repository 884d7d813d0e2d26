use alloc::string::String;
use core::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::amqp::ShortStr;

/// The digits of a generated name: 64 characters that need no quoting anywhere.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Generates the names of server-named queues and consumers, and the addresses of replies.
///
/// They are a keyed hash of their number: whoever knows some of them and not the seed cannot guess another.
#[derive(Debug)]
pub(super) struct Names {
    seed: u64,
    count: u64,
}

impl Names {
    pub(super) const fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    /// `prefix`, a dash and 22 characters, as RabbitMQ writes them.
    pub(super) fn next(&mut self, prefix: &str) -> ShortStr {
        let mut name = String::with_capacity(prefix.len() + 23);
        name.push_str(prefix);
        name.push('-');
        self.count += 1;
        let mut hash = SipHasher24::new_with_keys(self.seed, 0);
        hash.write_u64(self.count);
        let (high, low) = hash.finish128().as_u64();
        for mut bits in [high, low] {
            for _ in 0..11 {
                let digit = DIGITS.get((bits & 63) as usize).copied().unwrap_or(b'A');
                name.push(char::from(digit));
                bits >>= 6;
            }
        }
        ShortStr::truncated(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_seed_and_differ() {
        let (mut one, mut same, mut other) = (Names::new(1), Names::new(1), Names::new(2));
        let first = one.next("amq.gen");
        assert_eq!(first, same.next("amq.gen"));
        assert_ne!(first, other.next("amq.gen"));
        assert_ne!(first, one.next("amq.gen"));
        assert_eq!(first.len(), 30);
    }
}
