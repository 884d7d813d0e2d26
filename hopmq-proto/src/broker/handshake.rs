use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Buf, BytesMut};

use crate::Instant;
use crate::amqp::{
    Credentials, FieldTable, FrameHead, FrameKind, LongStr, Mechanism, Method, PROTOCOL_HEADER, ReplyCode,
    connection,
};

use super::engine::Broker;
use super::event::{Closed, Event};
use super::fault::Fault;
use super::id::ConnectionId;
use super::input::{method_id, syntax, unexpected};
use super::line::Line;
use super::link::{Login, Phase, Timer, has_capability};
use super::session::Session;

/// The smallest frame-max a client may ask for.
const FRAME_MAX_AT_LEAST: u32 = 4096;
const MECHANISMS: &str = "PLAIN AMQPLAIN";
/// What the server properties announce.
const CAPABILITIES: [&str; 8] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
];

impl Broker {
    /// Checks the first eight bytes as far as they have come.
    pub(super) fn on_protocol_header(
        &mut self,
        id: ConnectionId,
        input: &mut BytesMut,
        now: Instant,
    ) -> bool {
        let Some(link) = self.links.get_mut(id) else { return false };
        let came = input.len().min(PROTOCOL_HEADER.len());
        if !PROTOCOL_HEADER.starts_with(input.get(..came).unwrap_or_default()) {
            link.outbox.tail().extend_from_slice(&PROTOCOL_HEADER);
            link.outbox.end_frame();
            link.finish_by(Closed::WrongProtocol, now + self.config.close_timeout);
            input.clear();
            return false;
        }
        if came < PROTOCOL_HEADER.len() {
            return false;
        }
        input.advance(came);
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: server_properties(&self.config),
            mechanisms: LongStr::from_static(MECHANISMS),
            locales: LongStr::from_static("en_US"),
        };
        link.phase = Phase::Starting;
        link.send(0, &start.into());
        true
    }

    /// A frame on channel 0.
    pub(super) fn on_control_frame(
        &mut self,
        id: ConnectionId,
        head: FrameHead,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), Fault> {
        match head.kind {
            FrameKind::Method => {}
            FrameKind::Heartbeat if payload.is_empty() => return Ok(()),
            FrameKind::Heartbeat => {
                let text = "type 8, heartbeat with a payload: unknown_frame";
                return Err(Fault::new(ReplyCode::FRAME_ERROR, text));
            }
            FrameKind::Header | FrameKind::Body => return Err(unexpected(head)),
        }
        let ids = method_id(payload);
        let method = Method::decode(payload).map_err(|error| syntax(error).on(ids))?;
        self.on_control_method(id, method, now).map_err(|fault| fault.on(ids))
    }

    fn on_control_method(&mut self, id: ConnectionId, method: Method, now: Instant) -> Result<(), Fault> {
        let Some(link) = self.links.get_mut(id) else { return Ok(()) };
        match (&mut link.phase, method) {
            (Phase::Closing { .. }, Method::ConnectionClose(_)) => {
                link.send(0, &Method::ConnectionCloseOk(connection::CloseOk {}));
            }
            (Phase::Closing { reason, .. }, Method::ConnectionCloseOk(_)) => {
                let reason = reason.clone();
                link.finish(reason);
            }
            (Phase::Closing { .. }, _) => {}
            (_, Method::ConnectionClose(close)) => self.on_client_close(id, &close, now),
            (Phase::Starting, Method::ConnectionStartOk(start_ok)) => {
                return self.on_start_ok(id, start_ok, now);
            }
            (Phase::Tuning(_), Method::ConnectionTuneOk(tune_ok)) => {
                return self.on_tune_ok(id, &tune_ok, now);
            }
            (Phase::Opening(_), Method::ConnectionOpen(open)) => return self.on_open(id, &open),
            (Phase::Open(_), Method::ConnectionUpdateSecret(_)) => {
                link.send(0, &Method::ConnectionUpdateSecretOk(connection::UpdateSecretOk {}));
            }
            (phase, _) => {
                let state = match phase {
                    Phase::Starting => "starting",
                    Phase::Tuning(_) => "tuning",
                    Phase::Opening(_) => "opening",
                    _ => "running",
                };
                let text = format!("unexpected method in connection state {state}");
                return Err(Fault::new(ReplyCode::CHANNEL_ERROR, text));
            }
        }
        Ok(())
    }

    fn on_start_ok(
        &mut self,
        id: ConnectionId,
        start_ok: connection::StartOk,
        now: Instant,
    ) -> Result<(), Fault> {
        let Some(link) = self.links.get_mut(id) else { return Ok(()) };
        let mechanism = Mechanism::from_name(start_ok.mechanism.as_bytes());
        let Some(mechanism) = mechanism.filter(|one| *one != Mechanism::External) else {
            let text = format!("unknown authentication mechanism '{}'", start_ok.mechanism);
            return Err(Fault::new(ReplyCode::COMMAND_INVALID, text));
        };
        let user = match Credentials::parse(mechanism, &start_ok.response) {
            Ok(Credentials::Password { user, password }) => self.config.users.iter().find(|known| {
                known.name.as_bytes() == user.as_bytes()
                    && known.has_password(password.expose().as_bytes())
                    && (link.peer.loopback || !known.loopback_only)
            }),
            _ => None,
        };
        let Some(user) = user else {
            let fault = Fault::refused(format!(
                "Login was refused using authentication mechanism {}. For details see the broker logfile.",
                mechanism.name()
            ));
            let tell = has_capability(&start_ok.client_properties, "authentication_failure_close");
            self.turn_away(id, &fault, tell, now);
            return Ok(());
        };
        link.phase = Phase::Tuning(Login {
            user: user.name.clone(),
            client_properties: start_ok.client_properties,
            channel_max: 0,
        });
        let seconds = u16::try_from(self.config.heartbeat.as_secs()).unwrap_or(u16::MAX);
        let tune = connection::Tune {
            channel_max: self.config.channel_max,
            frame_max: self.config.frame_max.max(FRAME_MAX_AT_LEAST),
            heartbeat: seconds,
        };
        link.send(0, &tune.into());
        Ok(())
    }

    fn on_tune_ok(
        &mut self,
        id: ConnectionId,
        tune_ok: &connection::TuneOk,
        now: Instant,
    ) -> Result<(), Fault> {
        let limits = [
            (
                "frame_max",
                FRAME_MAX_AT_LEAST,
                self.config.frame_max.max(FRAME_MAX_AT_LEAST),
                tune_ok.frame_max,
            ),
            ("channel_max", 1, self.config.channel_max.into(), tune_ok.channel_max.into()),
        ];
        for (name, least, most, asked) in limits {
            let (what, bound, than) = match asked {
                asked if asked != 0 && asked < least => ("lower", least, "minimum"),
                asked if most != 0 && (asked == 0 || asked > most) => ("higher", most, "maximum"),
                _ => continue,
            };
            return Err(Fault::not_allowed(format!(
                "negotiated {name} = {asked} is {what} than the {than} allowed value ({bound})"
            )));
        }
        let Some(link) = self.links.get_mut(id) else { return Ok(()) };
        if let Phase::Tuning(login) = core::mem::replace(&mut link.phase, Phase::Starting) {
            let channel_max = if tune_ok.channel_max == 0 { u16::MAX } else { tune_ok.channel_max };
            link.phase = Phase::Opening(Login { channel_max, ..login });
        }
        link.frame_max = usize::try_from(tune_ok.frame_max).unwrap_or(usize::MAX);
        link.start_heartbeat(Duration::from_secs(tune_ok.heartbeat.into()), now);
        Ok(())
    }

    fn on_open(&mut self, id: ConnectionId, open: &connection::Open) -> Result<(), Fault> {
        let name = open.virtual_host.to_string_lossy();
        let vhost = self.vhosts.iter().position(|vhost| vhost.name == name);
        let Some(link) = self.links.get_mut(id) else { return Ok(()) };
        let Phase::Opening(login) = &link.phase else { return Ok(()) };
        let Some(vhost) = vhost else {
            return Err(Fault::not_allowed(format!("vhost {name} not found")));
        };
        let user = self.config.users.iter().find(|user| user.name == login.user);
        if !user.is_some_and(|user| user.vhosts.iter().any(|vhost| *vhost == name)) {
            let text = format!("access to vhost '{name}' refused for user '{}'", login.user);
            return Err(Fault::not_allowed(text));
        }
        let session = Session {
            user: login.user.clone(),
            vhost,
            channel_max: login.channel_max,
            wants_cancel: login.can("consumer_cancel_notify"),
            wants_blocked: login.can("connection.blocked"),
            blocked: false,
            channels: BTreeMap::new(),
            owns: BTreeSet::new(),
            line: Line::default(),
            to_confirm: Vec::new(),
        };
        let opening = core::mem::replace(&mut link.phase, Phase::Open(Box::new(session)));
        if let Phase::Opening(login) = opening {
            link.events.push_back(Event::Opened {
                user: login.user,
                vhost: name.to_string(),
                client_properties: login.client_properties,
            });
        }
        link.deadlines.clear(Timer::Handshake);
        link.send(0, &Method::ConnectionOpenOk(connection::OpenOk {}));
        Ok(())
    }
}

fn server_properties(config: &super::config::Config) -> FieldTable {
    let capabilities =
        CAPABILITIES.into_iter().fold(FieldTable::new(), |table, capability| table.with(capability, true));
    FieldTable::new()
        .with("capabilities", capabilities)
        .with("cluster_name", config.cluster_name.as_str())
        .with("copyright", "The HopMQ authors")
        .with("information", "Licensed under MIT or Apache-2.0")
        .with("platform", "Rust")
        .with("product", config.product.as_str())
        .with("version", config.version.as_str())
}
