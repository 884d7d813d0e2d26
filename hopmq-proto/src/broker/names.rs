use alloc::string::String;

use crate::amqp::ShortStr;

/// The digits of a generated name: 64 characters that need no quoting anywhere.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Generates the names of server-named queues and consumers out of a seed.
#[derive(Debug)]
pub(super) struct Names {
    state: u64,
}

impl Names {
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// `prefix`, a dash and 22 characters, as RabbitMQ writes them.
    pub(super) fn next(&mut self, prefix: &str) -> ShortStr {
        let mut name = String::with_capacity(prefix.len() + 23);
        name.push_str(prefix);
        name.push('-');
        for _ in 0..2 {
            let mut bits = self.mix();
            for _ in 0..11 {
                let digit = DIGITS.get((bits & 63) as usize).copied().unwrap_or(b'A');
                name.push(char::from(digit));
                bits >>= 6;
            }
        }
        ShortStr::truncated(&name)
    }

    /// splitmix64: each state gives another number, and neighbours look unrelated.
    fn mix(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
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
