use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Buf, BytesMut};

use super::core::Core;
use crate::Instant;
use crate::amqp::{FRAME_MIN_SIZE, Method, PROTOCOL_HEADER, ShortStr, WireError, connection};
use crate::client::close::ProtocolVersion;
use crate::client::{CloseReason, Config, HandshakeError, HandshakeStep, PeerMisbehaved, ServerInfo};

/// The smallest frame-max that AMQP 0-9-1 allows. `LavinMQ` proposes it over WebSocket.
const SPEC_FRAME_MIN: u32 = 4096;

/// The largest frame when neither side has a limit.
const UNLIMITED: u32 = 16 << 20;
/// How much of what is not AMQP is shown.
const EXCERPT: usize = 32;

/// The first phase of a connection: greeting, login, tuning, opening the virtual host.
#[derive(Debug)]
pub(super) struct Handshake {
    step: HandshakeStep,
    /// How long it may take.
    limit: Duration,
    /// What has been agreed on so far.
    info: ServerInfo,
    /// How long the frame with the credentials is.
    login_len: usize,
    /// The beginning of a greeting that is not AMQP.
    not_amqp: Vec<u8>,
}

/// What a server's first bytes are, unless they are a refusal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// Frames, as it should be.
    Frames,
    /// The beginning of something else.
    Incomplete,
}

/// What the handshake does with a method.
pub(super) enum Progress {
    /// More must come.
    Continue,
    /// The connection is open.
    Opened(Box<ServerInfo>),
}

impl Handshake {
    /// Sends the protocol header.
    pub(super) fn start(core: &mut Core, limit: Duration) -> Self {
        core.outbox.tail().extend_from_slice(&PROTOCOL_HEADER);
        core.outbox.end_frame();
        let info = ServerInfo { properties: Default::default(), channel_max: 0, frame_max: 0, heartbeat: 0 };
        Self { step: HandshakeStep::Greeting, limit, info, login_len: 0, not_amqp: Vec::new() }
    }

    /// A server that is asked for a version it does not speak, or that does not speak AMQP, says so in its first bytes.
    ///
    /// What is not AMQP is taken off `input`, up to the end of its first line.
    pub(super) fn check_greeting(&mut self, input: &mut BytesMut) -> Result<Greeting, HandshakeError> {
        if self.step != HandshakeStep::Greeting {
            return Ok(Greeting::Frames);
        }
        match input.first() {
            Some(_) if !self.not_amqp.is_empty() => self.collect(input),
            None | Some(1) => Ok(Greeting::Frames),
            Some(b'A') if PROTOCOL_HEADER.starts_with(input.get(..4).unwrap_or(input)) => {
                match input.first_chunk::<8>() {
                    Some(&[.., id, major, minor, revision]) => {
                        Err(HandshakeError::ProtocolVersion(ProtocolVersion([id, major, minor, revision])))
                    }
                    None => Ok(Greeting::Incomplete),
                }
            }
            Some(_) => self.collect(input),
        }
    }

    fn collect(&mut self, input: &mut BytesMut) -> Result<Greeting, HandshakeError> {
        while input.has_remaining() {
            let octet = input.get_u8();
            if octet != b'\n' {
                self.not_amqp.push(octet);
            }
            if octet == b'\n' || self.not_amqp.len() >= EXCERPT {
                return Err(HandshakeError::NotAmqp(core::mem::take(&mut self.not_amqp)));
            }
        }
        Ok(Greeting::Incomplete)
    }

    /// The error that ends the handshake, unless the server has said something that explains it better.
    fn ended(&self, error: HandshakeError) -> CloseReason {
        CloseReason::Handshake(match self.not_amqp.as_slice() {
            [] => error,
            said => HandshakeError::NotAmqp(said.to_vec()),
        })
    }

    /// Takes the method that comes next.
    pub(super) fn on_method(
        &mut self,
        core: &mut Core,
        method: Method,
        now: Instant,
    ) -> Result<Progress, CloseReason> {
        match (self.step, method) {
            (HandshakeStep::Greeting, Method::ConnectionStart(start)) => self.on_start(core, start, now)?,
            (HandshakeStep::Login, Method::ConnectionTune(tune)) => self.on_tune(core, &tune, now)?,
            (HandshakeStep::Opening, Method::ConnectionOpenOk(_)) => {
                let properties = core::mem::take(&mut self.info.properties);
                return Ok(Progress::Opened(Box::new(ServerInfo { properties, ..self.info.clone() })));
            }
            (_, Method::ConnectionClose(close)) => {
                core.answer(0, connection::CloseOk {}, now);
                return Err(CloseReason::Server(close.into()));
            }
            (_, method) => {
                let fault = PeerMisbehaved::UnexpectedMethod { method: method.name(), channel: 0 };
                return Err(CloseReason::PeerMisbehaved(fault));
            }
        }
        Ok(Progress::Continue)
    }

    fn on_start(
        &mut self,
        core: &mut Core,
        start: connection::Start,
        now: Instant,
    ) -> Result<(), CloseReason> {
        let offered = start.mechanisms.as_bytes();
        let Config { credentials, mechanisms, .. } = &core.config;
        let Some((mechanism, response)) = credentials.choose(mechanisms, offered) else {
            let offered = start.mechanisms.to_string_lossy().into_owned();
            return Err(CloseReason::Handshake(HandshakeError::NoMechanism(offered)));
        };
        let start_ok = connection::StartOk {
            client_properties: core.config.client_properties(),
            mechanism: ShortStr::from_static(mechanism.name()),
            response,
            locale: ShortStr::from_static("en_US"),
        };
        self.info.properties = start.server_properties;
        self.step = HandshakeStep::Login;
        let queued = core.outbox.len();
        let sent = core.send(0, &start_ok.into(), now);
        self.login_len = core.outbox.len() - queued;
        sent.map_err(|error| {
            CloseReason::Handshake(match error {
                WireError::FrameTooLarge { size: bytes, .. } => HandshakeError::LoginTooLong { bytes },
                error => HandshakeError::Encode(error),
            })
        })
    }

    fn on_tune(&mut self, core: &mut Core, tune: &connection::Tune, now: Instant) -> Result<(), CloseReason> {
        let frame_max =
            negotiate_frame_max(core.config.frame_max, tune.frame_max).map_err(CloseReason::Handshake)?;
        let heartbeat = core.config.heartbeat.negotiate(tune.heartbeat);
        let ours = core.config.channel_max.get();
        let channel_max = if tune.channel_max == 0 { ours } else { ours.min(tune.channel_max) };
        self.info.channel_max = channel_max;
        self.info.frame_max = frame_max;
        self.info.heartbeat = heartbeat;
        self.step = HandshakeStep::Opening;
        core.answer(0, connection::TuneOk { channel_max, frame_max, heartbeat }, now);
        core.frame_max = frame_max as usize;
        core.start_heartbeat(heartbeat, now);
        let open = connection::Open { virtual_host: core.config.virtual_host.clone() };
        core.answer(0, open, now);
        Ok(())
    }

    /// What it means that the server closed the stream now.
    pub(super) fn eof(&self) -> CloseReason {
        if self.step == HandshakeStep::Login && self.login_len > SPEC_FRAME_MIN as usize {
            return self.ended(HandshakeError::LoginTooLong { bytes: self.login_len });
        }
        self.ended(HandshakeError::Eof(self.step))
    }

    /// What it means that the transport failed now.
    pub(super) fn transport_failed(&self, why: alloc::string::String) -> CloseReason {
        self.ended(HandshakeError::Transport(self.step, why))
    }

    /// How long it may take.
    pub(super) const fn limit(&self) -> Duration {
        self.limit
    }

    /// What it means that the deadline has passed.
    pub(super) fn timeout(&self) -> CloseReason {
        self.ended(HandshakeError::Timeout(self.step))
    }
}

/// The smaller of both, where 0 is no limit; never below what the server can take.
fn negotiate_frame_max(ours: u32, server: u32) -> Result<u32, HandshakeError> {
    #[allow(clippy::cast_possible_truncation)]
    let ours = if ours == 0 { UNLIMITED } else { ours.max(FRAME_MIN_SIZE as u32) };
    match server {
        0 => Ok(ours),
        1..SPEC_FRAME_MIN => Err(HandshakeError::FrameMax(server)),
        server => Ok(ours.min(server)),
    }
}
