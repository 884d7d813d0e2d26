use bytes::{BufMut, BytesMut};
use hopmq_proto::amqp::{FRAME_END, Method, Properties, write_method};

/// The largest frame that either side writes here.
const FRAME_MAX: usize = 8192;

/// Appends a frame with a method.
pub(super) fn method(out: &mut BytesMut, channel: u16, method: impl Into<Method>) {
    let written = write_method(out, channel, 1 << 20, &method.into());
    assert_eq!(written, Ok(()));
}

/// Appends a method with its content.
pub(super) fn content(
    out: &mut BytesMut,
    channel: u16,
    content: impl Into<Method>,
    properties: &Properties,
    body: &[u8],
) {
    method(out, channel, content);
    let mut header = BytesMut::new();
    header.put_u32(60 << 16);
    header.put_u64(body.len() as u64);
    let encoded = properties.encode(&mut header);
    assert_eq!(encoded, Ok(()));
    frame(out, 2, channel, &header);
    for piece in body.chunks(FRAME_MAX - 8) {
        frame(out, 3, channel, piece);
    }
}

/// Appends a frame of whatever kind, around whatever is in it.
pub(super) fn frame(out: &mut BytesMut, kind: u8, channel: u16, payload: &[u8]) {
    out.put_u8(kind);
    out.put_u16(channel);
    out.put_u32(u32::try_from(payload.len()).unwrap_or_default());
    out.put_slice(payload);
    out.put_u8(FRAME_END);
}
