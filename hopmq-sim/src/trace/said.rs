use std::fmt;

use super::phrase::Phrase;

/// How many phrases a line has.
const TOLD: usize = 3;

/// What the bytes of a line of the trace say: whole frames, in their order.
#[derive(Debug, Default)]
pub(crate) struct Said {
    phrases: Vec<Phrase>,
    /// How much has been said behind those.
    more: u64,
    /// Something is no AMQP, from its first byte on or behind the rest.
    has_noise: bool,
    has_heartbeat: bool,
    /// Some of another frame has come.
    has_part: bool,
}

impl Said {
    pub(super) fn add(&mut self, phrase: Phrase) {
        if self.more == 0 {
            if self.phrases.last_mut().is_some_and(|last| last.join(&phrase)) {
                return;
            }
            if self.phrases.len() < TOLD {
                self.phrases.push(phrase);
                return;
            }
        }
        self.more += phrase.times();
    }

    pub(super) const fn add_noise(&mut self) {
        self.has_noise = true;
    }

    pub(super) const fn add_heartbeat(&mut self) {
        self.has_heartbeat = true;
    }

    pub(super) const fn add_part(&mut self) {
        self.has_part = true;
    }

    /// What was said next.
    pub(super) fn join(&mut self, next: Self) {
        next.phrases.into_iter().for_each(|phrase| self.add(phrase));
        self.more += next.more;
        self.has_noise |= next.has_noise;
        self.has_part |= next.has_part;
    }

    /// Whether there was nothing but heartbeats.
    pub(super) const fn is_heartbeat(&self) -> bool {
        self.has_heartbeat && self.phrases.is_empty() && !self.has_noise && !self.has_part
    }

    /// Whether it is nothing but what comes before a connection is open.
    pub(super) fn is_opening(&self) -> bool {
        let is_opening = self.phrases.iter().all(Phrase::is_opening);
        is_opening && !self.phrases.is_empty() && self.more == 0 && !self.has_noise
    }

    /// Whether nothing has: then there are only bytes to tell.
    pub(super) const fn is_nothing(&self) -> bool {
        self.phrases.is_empty() && !self.is_heartbeat()
    }
}

/// `queue.declare 'orders'; 2 x basic.publish to 'orders', 14 bytes; and 12 more`.
impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_heartbeat() {
            return f.write_str("heartbeat");
        }
        for (at, phrase) in self.phrases.iter().enumerate() {
            write!(f, "{}{phrase}", if at == 0 { "" } else { "; " })?;
        }
        if self.more > 0 {
            write!(f, "; and {} more", self.more)?;
        }
        if self.has_noise {
            f.write_str("; and bytes that are no frame")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_told_where_nothing_else_is() {
        let mut said = Said::default();
        assert!(said.is_nothing());
        said.add_heartbeat();
        assert!(said.is_heartbeat() && !said.is_nothing());
        assert_eq!(said.to_string(), "heartbeat");
        said.add(Phrase::new("basic.QosOk", None));
        assert!(!said.is_heartbeat());
        assert_eq!(said.to_string(), "basic.qos-ok");
    }
}
