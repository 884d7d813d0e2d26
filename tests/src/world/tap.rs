//! Reads a stream of frames on its way past, as the checker's own witness of what was said.

use std::collections::BTreeMap;

use hopmq_proto::amqp::{
    ContentHeader, FRAME_HEADER_LEN, FrameHead, FrameKind, Method, PROTOCOL_HEADER, Properties, basic,
};

/// What a stream says next.
#[derive(Debug)]
pub(crate) enum Said {
    ProtocolHeader,
    Heartbeat,
    Method(u16, Method),
    /// A method with its content, when the content is whole.
    Message(Box<Message>),
    /// A part of a message that is not whole yet.
    Part,
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) channel: u16,
    pub(crate) method: Method,
    pub(crate) properties: Properties,
    pub(crate) body: Vec<u8>,
    missing: u64,
}

/// A frame by its looks.
#[derive(Debug)]
pub(crate) struct Peeked {
    pub(crate) len: usize,
    pub(crate) channel: u16,
    /// The method, if it is a method frame.
    pub(crate) method: Option<Method>,
}

/// One direction of one connection.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    started: bool,
    methods: BTreeMap<u16, Method>,
    parts: BTreeMap<u16, Message>,
}

impl Tap {
    /// A stream without a protocol header in front.
    pub(crate) fn of_frames() -> Self {
        Self { started: true, ..Self::default() }
    }

    /// The frame at the front of `stream`, if it is whole.
    pub(crate) fn peek(&self, stream: &[u8]) -> Option<Peeked> {
        if !self.started {
            let (len, channel, method) = (PROTOCOL_HEADER.len(), 0, None);
            return (stream.len() >= len).then_some(Peeked { len, channel, method });
        }
        let head = FrameHead::peek(stream, 1 << 24).unwrap_or_else(|fault| panic!("not a frame: {fault}"))?;
        let payload = &stream[FRAME_HEADER_LEN..][..head.payload_len];
        let method = (head.kind == FrameKind::Method).then(|| decode(payload));
        Some(Peeked { len: head.frame_len(), channel: head.channel, method })
    }

    /// The publish whose content is under way on a channel.
    pub(crate) fn publish_under_way(&self, channel: u16) -> Option<&basic::Publish> {
        let method = self.methods.get(&channel).or(self.parts.get(&channel).map(|part| &part.method));
        match method {
            Some(Method::BasicPublish(publish)) => Some(publish),
            _ => None,
        }
    }

    /// Takes the whole frame that `stream` is.
    pub(crate) fn take(&mut self, stream: &[u8]) -> Said {
        if !self.started {
            assert_eq!(stream, PROTOCOL_HEADER);
            self.started = true;
            return Said::ProtocolHeader;
        }
        let head = FrameHead::peek(stream, 1 << 24).ok().flatten().unwrap_or_else(|| panic!("not a frame"));
        let payload = &stream[FRAME_HEADER_LEN..][..head.payload_len];
        let channel = head.channel;
        match head.kind {
            FrameKind::Heartbeat => Said::Heartbeat,
            FrameKind::Method => {
                let method = decode(payload);
                // What was cut off in the middle by a close is dropped.
                self.methods.remove(&channel);
                self.parts.remove(&channel);
                match method {
                    Method::BasicPublish(_)
                    | Method::BasicDeliver(_)
                    | Method::BasicGetOk(_)
                    | Method::BasicReturn(_) => {
                        self.methods.insert(channel, method);
                        Said::Part
                    }
                    method => Said::Method(channel, method),
                }
            }
            FrameKind::Header => {
                let header = ContentHeader::read(payload).unwrap_or_else(|fault| panic!("{fault}"));
                let method =
                    self.methods.remove(&channel).unwrap_or_else(|| panic!("a header after no method"));
                let properties = Properties::decode(header.properties);
                let properties = properties.unwrap_or_else(|fault| panic!("{fault}"));
                let missing = header.body_size;
                self.finish(Message { channel, method, properties, body: Vec::new(), missing })
            }
            FrameKind::Body => {
                let part = self.parts.remove(&channel);
                let mut message = part.unwrap_or_else(|| panic!("a body after no header"));
                assert!(message.missing >= payload.len() as u64, "a body longer than its header said");
                message.missing -= payload.len() as u64;
                message.body.extend_from_slice(payload);
                self.finish(message)
            }
        }
    }

    fn finish(&mut self, message: Message) -> Said {
        if message.missing == 0 {
            return Said::Message(Box::new(message));
        }
        self.parts.insert(message.channel, message);
        Said::Part
    }

    /// Whether no message is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.methods.is_empty() && self.parts.is_empty()
    }
}

fn decode(payload: &[u8]) -> Method {
    Method::decode(payload).unwrap_or_else(|fault| panic!("not a method: {fault}"))
}
