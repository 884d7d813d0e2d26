use bytes::BytesMut;
use hopmq_proto::amqp::{
    ContentHeader, FRAME_HEADER_LEN, FRAME_OVERHEAD, FrameHead, FrameKind, WireError, write_frame,
};

/// A stream of frames: the first octet is the largest payload, the rest the stream.
///
/// Frames that come whole and frames that come octet by octet are the same, end with the same fault at the same
/// place, and are written again as the bytes they were read from.
pub fn frame(data: &[u8]) {
    let Some((&max, stream)) = data.split_first() else { return };
    let frame_max = FRAME_OVERHEAD + usize::from(max);
    let whole = frames(stream, frame_max);
    assert_eq!(whole, frames_by_octet(stream, frame_max), "chunking changes what is read");

    let mut rest = stream;
    for head in &whole.0 {
        let (bytes, after) = rest.split_at(head.frame_len());
        let payload = &bytes[FRAME_HEADER_LEN..][..head.payload_len];
        let mut again = BytesMut::new();
        let written = write_frame(&mut again, head.kind, head.channel, frame_max, |out| {
            out.extend_from_slice(payload);
            Ok(())
        });
        assert_eq!(written, Ok(()));
        assert_eq!(again, bytes, "a frame is written otherwise than it was read");
        match head.kind {
            FrameKind::Method => super::method(payload),
            FrameKind::Header => content_header(payload),
            FrameKind::Body | FrameKind::Heartbeat => {}
        }
        rest = after;
    }
}

fn content_header(payload: &[u8]) {
    let Ok(header) = ContentHeader::read(payload) else {
        assert!(payload.len() < 12, "only a header that is cut short is refused");
        return;
    };
    assert_eq!(header.properties.len(), payload.len() - 12);
    super::properties(header.properties);
}

/// The frames of `stream`, and the fault that ends them, if one does.
type Read = (Vec<FrameHead>, Option<WireError>);

fn frames(mut stream: &[u8], frame_max: usize) -> Read {
    let mut heads = Vec::new();
    loop {
        match FrameHead::peek(stream, frame_max) {
            Ok(Some(head)) => {
                heads.push(head);
                stream = &stream[head.frame_len()..];
            }
            Ok(None) => return (heads, None),
            Err(fault) => return (heads, Some(fault)),
        }
    }
}

fn frames_by_octet(stream: &[u8], frame_max: usize) -> Read {
    let (mut heads, mut start) = (Vec::new(), 0);
    for end in 0..=stream.len() {
        match FrameHead::peek(&stream[start..end], frame_max) {
            Ok(Some(head)) => {
                assert_eq!(head.frame_len(), end - start, "a frame is seen when its last octet comes");
                heads.push(head);
                start = end;
            }
            Ok(None) => {}
            Err(fault) => return (heads, Some(fault)),
        }
    }
    (heads, None)
}
