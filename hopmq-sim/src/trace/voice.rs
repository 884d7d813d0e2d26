use std::collections::BTreeMap;
use std::mem;

use hopmq_proto::amqp::{
    ContentHeader, FRAME_END, FRAME_HEADER_LEN, FrameHead, FrameKind, Method, PROTOCOL_HEADER, WireError,
};

use super::channels::Channels;
use super::phrase::Phrase;
use super::said::Said;

/// What every protocol header begins with.
const AMQP: &[u8] = b"AMQP";
/// What a content header has before its properties.
const CONTENT_HEADER: usize = 12;
/// The largest method that is looked at, RabbitMQ's frame-max: a larger one is counted, as bodies are.
const METHOD_MAX: usize = 128 * 1024;
/// A method that would be larger than this is none.
const NO_METHOD: usize = 16 * 1024 * 1024;

/// What one side says. Of a frame that is not whole it keeps no more than what it looks at: bodies are counted.
#[derive(Debug, Default)]
pub(super) struct Voice {
    stage: Stage,
    has_begun: bool,
    /// What has come of what is looked at next.
    part: Vec<u8>,
    /// Messages that are not whole, by channel.
    messages: BTreeMap<u16, Message>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, Default)]
enum Stage {
    #[default]
    ProtocolHeader,
    Head,
    /// So many bytes of a frame's payload.
    Payload(FrameHead, usize),
    End(FrameHead),
    /// What is no AMQP, for ever.
    Noise,
}

/// A message whose content has not all come.
#[derive(Debug)]
struct Message {
    phrase: Phrase,
    /// How many bytes of the body are to come, behind the content header.
    left: Option<u64>,
}

/// It is no AMQP.
struct Noise;

impl From<WireError> for Noise {
    fn from(_: WireError) -> Self {
        Self
    }
}

impl Voice {
    /// Whether it has said nothing.
    pub(super) const fn is_new(&self) -> bool {
        matches!(self.stage, Stage::ProtocolHeader) && self.part.is_empty()
    }

    /// Whether it has said a protocol header.
    pub(super) const fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// An answer has no protocol header, unless that is the answer: to one of another version.
    pub(super) fn answer(&mut self, bytes: &[u8]) {
        if bytes.first() != AMQP.first() {
            self.stage = Stage::Head;
        }
    }

    pub(super) fn give_up(&mut self) {
        *self = Self { stage: Stage::Noise, has_begun: self.has_begun, ..Self::default() };
    }

    pub(super) fn hear(&mut self, mut bytes: &[u8], channels: &mut Channels, said: &mut Said) {
        while !bytes.is_empty() {
            let result = match self.stage {
                Stage::ProtocolHeader => self.protocol_header(&mut bytes, said),
                Stage::Head => self.head(&mut bytes),
                Stage::Payload(head, left) => {
                    if head.kind != FrameKind::Heartbeat {
                        said.add_part();
                    }
                    self.payload(&mut bytes, head, left);
                    Ok(())
                }
                Stage::End(head) => self.end(&mut bytes, head, channels, said),
                Stage::Noise => {
                    said.add_noise();
                    return;
                }
            };
            if result.is_err() {
                self.give_up();
                said.add_noise();
                return;
            }
        }
    }

    fn protocol_header(&mut self, bytes: &mut &[u8], said: &mut Said) -> Result<(), Noise> {
        self.take(bytes, PROTOCOL_HEADER.len());
        if !self.part.iter().zip(AMQP).all(|(one, other)| one == other) {
            return Err(Noise);
        }
        if let Some(&[_, _, _, _, id, major, minor, revision]) = self.part.first_chunk::<8>() {
            said.add(Phrase::of_version([id, major, minor, revision]));
            self.part.clear();
            (self.stage, self.has_begun) = (Stage::Head, true);
        }
        Ok(())
    }

    fn head(&mut self, bytes: &mut &[u8]) -> Result<(), Noise> {
        self.take(bytes, FRAME_HEADER_LEN);
        if let Some(first) = self.part.first_chunk::<FRAME_HEADER_LEN>() {
            let head = FrameHead::from_bytes(*first)?;
            if head.kind == FrameKind::Method && head.payload_len > NO_METHOD {
                return Err(Noise);
            }
            self.part.clear();
            self.stage = Stage::Payload(head, head.payload_len);
        }
        Ok(())
    }

    fn payload(&mut self, bytes: &mut &[u8], head: FrameHead, left: usize) {
        let mut payload = bytes.split_off(..left.min(bytes.len())).unwrap_or_default();
        let left = left - payload.len();
        self.stage = if left == 0 { Stage::End(head) } else { Stage::Payload(head, left) };
        let wanted = match head.kind {
            FrameKind::Method if head.payload_len <= METHOD_MAX => head.payload_len,
            FrameKind::Header => CONTENT_HEADER,
            _ => 0,
        };
        self.take(&mut payload, wanted);
    }

    fn end(
        &mut self,
        bytes: &mut &[u8],
        head: FrameHead,
        channels: &mut Channels,
        said: &mut Said,
    ) -> Result<(), Noise> {
        if bytes.split_off_first() != Some(&FRAME_END) {
            return Err(Noise);
        }
        self.stage = Stage::Head;
        let mut part = mem::take(&mut self.part);
        self.frame(head, &part, channels, said)?;
        part.clear();
        self.part = part;
        Ok(())
    }

    /// Moves bytes to `part`, until it has so many.
    fn take(&mut self, bytes: &mut &[u8], wanted: usize) {
        let missing = wanted.saturating_sub(self.part.len()).min(bytes.len());
        self.part.extend_from_slice(bytes.split_off(..missing).unwrap_or_default());
    }

    /// A frame is whole, with as much of its payload as is looked at.
    fn frame(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        channels: &mut Channels,
        said: &mut Said,
    ) -> Result<(), Noise> {
        if head.kind == FrameKind::Heartbeat {
            said.add_heartbeat();
            return Ok(());
        }
        let channel = channels.told(head.channel);
        match (head.kind, self.messages.remove(&head.channel)) {
            (FrameKind::Header, Some(Message { phrase, left: None })) => {
                let size = ContentHeader::read(payload)?.body_size;
                self.body(head.channel, phrase.with_bytes(size), size, said);
            }
            (FrameKind::Body, Some(Message { phrase, left: Some(left) })) => {
                self.body(head.channel, phrase, left.saturating_sub(head.payload_len as u64), said);
            }
            (kind, cut_short) => {
                cut_short.into_iter().for_each(|message| said.add(message.phrase.cut_short()));
                match kind {
                    FrameKind::Method if head.payload_len > METHOD_MAX => {
                        said.add(Phrase::new("method", channel).with_bytes(head.payload_len as u64));
                    }
                    FrameKind::Method => {
                        let method = Method::decode(payload)?;
                        self.method(head.channel, Phrase::of(&method, channel), &method, said);
                        if matches!(method, Method::ChannelCloseOk(_)) {
                            channels.close(head.channel);
                        }
                    }
                    FrameKind::Header => said.add(Phrase::new("content header", channel)),
                    FrameKind::Body | FrameKind::Heartbeat => {
                        said.add(Phrase::new("body", channel).with_bytes(head.payload_len as u64));
                    }
                }
            }
        }
        Ok(())
    }

    fn method(&mut self, channel: u16, phrase: Phrase, method: &Method, said: &mut Said) {
        let has_content = matches!(
            method,
            Method::BasicPublish(_)
                | Method::BasicReturn(_)
                | Method::BasicDeliver(_)
                | Method::BasicGetOk(_)
        );
        if has_content {
            self.messages.insert(channel, Message { phrase, left: None });
        } else {
            said.add(phrase);
        }
    }

    /// So many bytes of a message's body are to come. It is named when none is.
    fn body(&mut self, channel: u16, phrase: Phrase, left: u64, said: &mut Said) {
        if left == 0 {
            said.add(phrase);
        } else {
            self.messages.insert(channel, Message { phrase, left: Some(left) });
        }
    }
}
