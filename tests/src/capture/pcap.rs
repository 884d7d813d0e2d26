use std::collections::BTreeMap;

use etherparse::{PacketBuilder, TcpOptionElement};

use super::{Packet, SERVER_PORT, What};

/// Addresses for documentation (RFC 5737).
const CLIENT: [u8; 4] = [192, 0, 2, 1];
const SERVER: [u8; 4] = [192, 0, 2, 2];
/// A packet begins with its IP header.
const LINKTYPE_RAW: u32 = 101;
/// Each byte counts this often in the window, which is then never full.
const WINDOW_SCALE: u8 = 14;

/// A capture in the format of libpcap, version 2.4: a header of the file, and one of each packet.
pub(super) fn file(packets: &[Packet]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(0xa1b2_c3d4_u32.to_le_bytes());
    file.extend([2_u16, 4].map(u16::to_le_bytes).as_flattened());
    file.extend([0, 0, u32::from(u16::MAX), LINKTYPE_RAW].map(u32::to_le_bytes).as_flattened());
    // What was sent each way, by the client's port: what is sent next, and what the other side has got.
    let mut sent = BTreeMap::<u16, [u32; 2]>::new();
    for (packet, microsecond) in packets.iter().zip(0..) {
        let sent = sent.entry(packet.stream.connection).or_default();
        let bytes = segment(packet, sent);
        let len = u32::try_from(bytes.len()).unwrap();
        file.extend(
            [microsecond / 1_000_000, microsecond % 1_000_000, len, len].map(u32::to_le_bytes).as_flattened(),
        );
        file.extend(bytes);
    }
    file
}

fn segment(Packet { stream, what }: &Packet, sent: &mut [u32; 2]) -> Vec<u8> {
    let (from, to) = if stream.to_server { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
    let ports = [stream.connection, SERVER_PORT];
    let own = usize::from(!stream.to_server);
    let tcp = PacketBuilder::ipv4(from, to, 64).tcp(ports[own], ports[1 - own], sent[own], u16::MAX);
    let (tcp, data) = match what {
        What::Syn => (tcp.syn().options(&[TcpOptionElement::WindowScale(WINDOW_SCALE)]).unwrap(), &[][..]),
        What::Data(data) => (tcp.psh(), &data[..]),
        What::Fin => (tcp.fin(), &[][..]),
    };
    // All but the first acknowledges what the other side has sent.
    let is_first = matches!(what, What::Syn) && stream.to_server;
    let tcp = if is_first { tcp } else { tcp.ack(sent[1 - own]) };
    let counts = if matches!(what, What::Data(_)) { u32::try_from(data.len()).unwrap() } else { 1 };
    sent[own] = sent[own].wrapping_add(counts);
    let mut bytes = Vec::with_capacity(tcp.size(data.len()));
    tcp.write(&mut bytes, data).unwrap();
    bytes
}
