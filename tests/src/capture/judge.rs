use std::collections::BTreeSet;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};

use hopmq_proto::amqp::Method;

use super::frames::frames;
use super::{Captured, pcap, tshark};

/// What tshark points out in a close or a return that has its reasons, and connection.update-secret, which it does not
/// know yet.
const KNOWN: [&str; 5] = [
    "Channel error",
    "Connection error",
    "Message was not delivered",
    "Unknown connection method 70",
    "Unknown connection method 71",
];

/// Methods that no scenario has a use for: RabbitMQ sends connection.blocked only amid an alarm of the whole node, and
/// the others never, or refuses them.
const UNUSED: [&str; 9] = [
    "connection.Secure",
    "connection.SecureOk",
    "connection.Blocked",
    "connection.Unblocked",
    "channel.Flow",
    "channel.FlowOk",
    "access.Request",
    "access.RequestOk",
    "basic.RecoverAsync",
];

impl Captured {
    /// What tshark calls malformed, or warns of, but for what is known.
    pub fn complaints(&self) -> BTreeSet<String> {
        self.dissect().complaints
    }

    /// Demands that tshark sees the same frames as we, each method by its numbers, and no fault in them; and that every
    /// method was among them, unless its class is one of `but`.
    pub fn assert_understood(&self, but: &[&str]) {
        let dissected = self.dissect();
        assert_eq!(dissected.complaints, BTreeSet::new(), "by the numbers of packets");
        let ours = frames(&self.packets);
        for (stream, frames) in &ours {
            assert_eq!(dissected.frames.get(stream), Some(frames), "{stream:?}");
        }
        assert_eq!(dissected.frames.len(), ours.len());
        let said: BTreeSet<_> = dissected.frames.values().flatten().filter_map(|it| it.method).collect();
        let unsaid = Method::all().into_iter().filter(|it| !said.contains(&it.id())).map(|it| it.name());
        let missing: Vec<_> = unsaid
            .filter(|it| !UNUSED.contains(it) && !but.iter().any(|class| it.starts_with(class)))
            .collect();
        assert_eq!(missing, [""; 0], "not said by anybody");
    }

    fn dissect(&self) -> tshark::Dissected {
        let name = format!("hopmq-capture-{:016x}.pcap", RandomState::new().build_hasher().finish());
        let file = std::env::temp_dir().join(name);
        fs::write(&file, pcap::file(&self.packets)).unwrap();
        let dissected = tshark::dissect(&file, &KNOWN);
        fs::remove_file(&file).unwrap();
        dissected
    }
}
