use std::future::poll_fn;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use hopmq::io::Transport;
use hopmq::{Config, Properties};
use hopmq_proto::amqp::{
    FRAME_HEADER_LEN, FieldTable, FrameHead, FrameKind, LongStr, Mechanism, Method, PROTOCOL_HEADER,
    ShortStr, basic, channel, connection, write_frame, write_method,
};

const FRAME_MAX: u32 = 131_072;
/// What raw connections agree to.
pub(super) const TUNE_OK: connection::TuneOk =
    connection::TuneOk { channel_max: 2047, frame_max: FRAME_MAX, heartbeat: 0 };

/// One side of a connection without an engine around it, for what an engine never does.
pub struct Raw {
    transport: Box<dyn Transport>,
    input: BytesMut,
}

/// A frame as it came.
#[derive(Debug)]
pub struct Frame {
    pub kind: FrameKind,
    pub channel: u16,
    pub payload: Bytes,
}

impl Raw {
    pub fn new(transport: impl Transport) -> Self {
        Self::over(Box::new(transport))
    }

    pub fn over(transport: Box<dyn Transport>) -> Self {
        Self { transport, input: BytesMut::new() }
    }

    pub async fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let n = poll_fn(|cx| self.transport.poll_write(cx, &[IoSlice::new(bytes)])).await.unwrap();
            bytes.advance(n);
        }
    }

    pub async fn send(&mut self, channel: u16, method: impl Into<Method>) {
        let mut out = BytesMut::new();
        write_method(&mut out, channel, FRAME_MAX as usize, &method.into()).unwrap();
        self.write(&out).await;
    }

    /// Sends a frame whose payload may be anything.
    pub async fn send_frame(&mut self, kind: FrameKind, channel: u16, payload: &[u8]) {
        let mut out = BytesMut::new();
        write_frame(&mut out, kind, channel, FRAME_MAX as usize, |out| {
            out.extend_from_slice(payload);
            Ok(())
        })
        .unwrap();
        self.write(&out).await;
    }

    /// Publishes to a queue through the default exchange.
    pub async fn publish(&mut self, channel: u16, publish: basic::Publish, body: &[u8]) {
        self.send(channel, publish).await;
        self.send_header(channel, body.len() as u64).await;
        if !body.is_empty() {
            self.send_frame(FrameKind::Body, channel, body).await;
        }
    }

    pub async fn send_header(&mut self, channel: u16, body_size: u64) {
        let mut payload = BytesMut::from(&[0, 60, 0, 0][..]);
        payload.extend_from_slice(&body_size.to_be_bytes());
        Properties::new().encode(&mut payload).unwrap();
        self.send_frame(FrameKind::Header, channel, &payload).await;
    }

    /// Reads more. False at the end of the stream.
    async fn read(&mut self) -> bool {
        self.input.reserve(4096);
        // A reset after the server's last word is an end, too.
        poll_fn(|cx| self.transport.poll_read(cx, &mut self.input)).await.unwrap_or(0) > 0
    }

    /// Fills `bytes`, for what is not a frame.
    pub async fn read_exact(&mut self, bytes: &mut [u8]) {
        while self.input.len() < bytes.len() {
            assert!(self.read().await, "the stream has ended");
        }
        self.input.copy_to_slice(bytes);
    }

    /// A server's part, up to where channel 1 is open.
    pub async fn serve_channel(&mut self) {
        let mut greeting = [0; 8];
        self.read_exact(&mut greeting).await;
        assert_eq!(greeting, PROTOCOL_HEADER);
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: FieldTable::new(),
            mechanisms: LongStr::from_static("PLAIN"),
            locales: LongStr::from_static("en_US"),
        };
        self.call(0, start).await;
        self.call(0, connection::Tune { channel_max: 2047, frame_max: FRAME_MAX, heartbeat: 0 }).await;
        self.method().await;
        self.send(0, connection::OpenOk {}).await;
        let (number, open) = self.method().await;
        assert_eq!((number, open), (1, channel::Open {}.into()));
        self.send(1, channel::OpenOk {}).await;
    }

    /// The next frame that is no heartbeat; `None` at the end of the stream.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            while let Some(head) = FrameHead::peek(&self.input, FRAME_MAX as usize).unwrap() {
                let frame = self.input.split_to(head.frame_len()).freeze();
                let payload = frame.slice(FRAME_HEADER_LEN..FRAME_HEADER_LEN + head.payload_len);
                if head.kind != FrameKind::Heartbeat {
                    return Some(Frame { kind: head.kind, channel: head.channel, payload });
                }
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// Everything up to the end of the stream, as bytes.
    pub async fn rest(mut self) -> Bytes {
        while self.read().await {}
        self.input.freeze()
    }

    /// The next frame, which must be a method.
    pub async fn method(&mut self) -> (u16, Method) {
        let frame = self.frame().await.expect("the server closed the stream");
        assert_eq!(frame.kind, FrameKind::Method, "{frame:?}");
        (frame.channel, Method::decode(&frame.payload).unwrap())
    }

    /// A message's body, behind its method.
    pub async fn body(&mut self) -> Bytes {
        let header = self.frame().await.unwrap();
        assert_eq!(header.kind, FrameKind::Header);
        let size = u64::from_be_bytes(header.payload[4..12].try_into().unwrap());
        let mut body = BytesMut::new();
        while (body.len() as u64) < size {
            let frame = self.frame().await.unwrap();
            assert_eq!(frame.kind, FrameKind::Body);
            body.extend_from_slice(&frame.payload);
        }
        body.freeze()
    }

    /// Sends a method and returns the answer on the same channel.
    pub async fn call(&mut self, channel: u16, method: impl Into<Method>) -> Method {
        self.send(channel, method).await;
        let (answered, answer) = self.method().await;
        assert_eq!(answered, channel, "{answer:?}");
        answer
    }

    pub async fn open_channel(&mut self, number: u16) {
        let answer = self.call(number, channel::Open {}).await;
        assert_eq!(answer, channel::OpenOk {}.into());
    }

    pub async fn greet(&mut self) {
        self.write(&PROTOCOL_HEADER).await;
        let (_, start) = self.method().await;
        assert!(matches!(start, Method::ConnectionStart(_)), "{start:?}");
    }

    /// Sends a login, behind the greeting.
    pub async fn send_login(&mut self, config: &Config, capabilities: &[&'static str]) {
        self.greet().await;
        let mut said = FieldTable::new();
        for name in capabilities {
            said.insert(*name, true).unwrap();
        }
        let start_ok = connection::StartOk {
            client_properties: FieldTable::new().with("capabilities", said),
            mechanism: ShortStr::from_static(Mechanism::Plain.name()),
            response: config.credentials.response(Mechanism::Plain).unwrap(),
            locale: ShortStr::from_static("en_US"),
        };
        self.send(0, start_ok).await;
    }

    /// Logs in and agrees to something, up to where a virtual host is to be opened.
    pub async fn tune(&mut self, config: &Config, tune_ok: connection::TuneOk) {
        self.send_login(config, &["consumer_cancel_notify"]).await;
        let (_, tune) = self.method().await;
        assert!(matches!(tune, Method::ConnectionTune(_)), "{tune:?}");
        self.send(0, tune_ok).await;
    }

    pub async fn log_in(&mut self, config: &Config) {
        self.tune(config, TUNE_OK).await;
        let opened = self.call(0, connection::Open { virtual_host: config.virtual_host.clone() }).await;
        assert_eq!(opened, connection::OpenOk {}.into());
    }

    /// The server closes a channel, which is answered.
    pub async fn expect_channel_close(&mut self, number: u16, code: u16, text: &str) {
        match self.method().await {
            (channel, Method::ChannelClose(close)) => {
                assert_eq!(
                    (channel, close.reply_code, &*close.reply_text.to_string_lossy()),
                    (number, code, text)
                );
            }
            other => panic!("{other:?} in place of {code} {text}"),
        }
        self.send(number, channel::CloseOk {}).await;
    }

    /// The server closes the connection, and after the answer the stream.
    pub async fn expect_connection_close(mut self, code: u16, text: &str) {
        match self.method().await {
            (0, Method::ConnectionClose(close)) => {
                assert_eq!((close.reply_code, &*close.reply_text.to_string_lossy()), (code, text));
            }
            other => panic!("{other:?} in place of {code} {text}"),
        }
        self.send(0, connection::CloseOk {}).await;
        let after = self.frame().await;
        assert!(after.is_none(), "{after:?} after the close");
    }

    /// The connection is alive: it opens and closes a channel.
    pub async fn expect_alive(&mut self) {
        self.open_channel(99).await;
        let close = channel::Close { reply_code: 200, ..channel::Close::default() };
        assert_eq!(self.call(99, close).await, channel::CloseOk {}.into());
    }

    /// An exclusive queue with the server's name.
    pub async fn declare_queue(&mut self, number: u16) -> ShortStr {
        use hopmq_proto::amqp::queue;
        let declare = queue::Declare { exclusive: true, ..queue::Declare::default() };
        match self.call(number, declare).await {
            Method::QueueDeclareOk(ok) => ok.queue,
            other => panic!("{other:?}"),
        }
    }
}

/// Nothing secret is sent by a scenario.
impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Raw").field("input", &self.input).finish_non_exhaustive()
    }
}
