use std::fmt::Write as _;
use std::num::NonZeroU16;
use std::time::Duration;

use hopmq::{ConnectOptions, Credentials, Endpoint, UriError};
use hopmq_proto::client::Heartbeat;

use super::script::Script;

/// What no error may show.
const SECRET: &str = "S3CRET";

/// A URI: the first octet says whether the others are its text, a password in it that nobody has encoded, or parts that
/// are put together by the rules.
///
/// Nothing panics. What is parsed has endpoints with ports; what is not says so in one line of text without a password.
/// What was put together by the rules means what was put into it.
///
/// # Panics
///
/// When it does not hold.
pub fn uri(data: &[u8]) {
    let Some((&how, rest)) = data.split_first() else { return };
    match how % 3 {
        0 => any(&String::from_utf8_lossy(rest)),
        1 => careless(how, &String::from_utf8_lossy(rest)),
        _ => Parts::read(&mut Script::new(rest)).check(),
    }
}

fn any(text: &str) {
    match parse(text) {
        Ok(options) => {
            let endpoints = options.endpoints();
            assert!(!endpoints.is_empty());
            assert!(
                endpoints.iter().all(|endpoint| endpoint.port != 0 && !endpoint.host.is_empty()),
                "{endpoints:?}"
            );
            assert_eq!(options.check(), Ok(()));
            assert!(options.config.virtual_host.len() <= 255);
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.starts_with("invalid URI: ") && !text.contains(char::is_control), "{text:?}");
        }
    }
}

/// A password as people type it: not encoded.
fn careless(how: u8, text: &str) {
    let half = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
    let (before, behind) = text.split_at(half);
    let host = ["host", "host:5672/v", "host/v?heartbeat=1", ""][usize::from(how >> 6)];
    let text = format!("amqp://user:{before}{SECRET}{behind}@{host}");
    if let Err(error) = parse(&text) {
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(SECRET), "{shown} shows a password, of {text:?}");
    }
    any(&text);
}

fn parse(text: &str) -> Result<ConnectOptions, UriError> {
    text.parse()
}

/// What a URI is made of.
#[derive(Debug)]
struct Parts {
    tls: bool,
    login: Option<(String, String)>,
    hosts: Vec<(String, Option<u16>)>,
    virtual_host: Option<String>,
    heartbeat: Option<u16>,
    timeout: Option<u64>,
    channel_max: Option<NonZeroU16>,
    frame_max: Option<u32>,
    name: Option<String>,
}

impl Parts {
    fn read(script: &mut Script<'_>) -> Self {
        let (has, more) = (script.next(), script.next());
        let hosts = (0..=has >> 6).map(|_| {
            let port = u16::from_be_bytes([script.next(), script.next()]);
            let text = text(script, 60);
            let host = if text.is_empty() { "h".to_owned() } else { text };
            (host, Some(port).filter(|port| *port != 0))
        });
        let hosts = hosts.collect();
        let text = |script: &mut Script<'_>, bit: u8| (has & bit != 0).then(|| text(script, 255));
        Self {
            tls: has & 1 != 0,
            hosts,
            login: text(script, 2).zip(text(script, 2)),
            virtual_host: text(script, 4),
            name: text(script, 8),
            heartbeat: (more & 1 != 0).then(|| script.next().into()),
            timeout: (more & 2 != 0).then(|| u64::from(script.next()) + 1),
            channel_max: NonZeroU16::new(u16::from(script.next())),
            frame_max: (more & 4 != 0).then(|| u32::from(script.next()) << 12),
        }
    }

    fn text(&self) -> String {
        let mut text = String::from(if self.tls { "amqps://" } else { "amqp://" });
        if let Some((user, password)) = &self.login {
            let _ = write!(text, "{}:{}@", encoded(user), encoded(password));
        }
        for (at, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let _ = write!(text, "{comma}{}{port}", encoded(host));
        }
        if let Some(virtual_host) = &self.virtual_host {
            let _ = write!(text, "/{}", encoded(virtual_host));
        }
        text.push('?');
        for (name, value) in [
            ("heartbeat", self.heartbeat.map(|it| it.to_string())),
            ("connection_timeout", self.timeout.map(|it| it.to_string())),
            ("channel_max", self.channel_max.map(|it| it.to_string())),
            ("frame_max", self.frame_max.map(|it| it.to_string())),
            ("name", self.name.as_deref().map(encoded)),
        ] {
            value.into_iter().for_each(|value| {
                let _ = write!(text, "{name}={value}&");
            });
        }
        text
    }

    fn check(&self) {
        let (text, default) = (self.text(), ConnectOptions::new());
        let options = parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let port = if self.tls { 5671 } else { 5672 };
        let endpoints = self.hosts.iter();
        let endpoints =
            endpoints.map(|(host, own)| Endpoint { host: host.clone(), port: own.unwrap_or(port) });
        assert_eq!(options.endpoints(), endpoints.collect::<Vec<_>>(), "{text}");
        assert_eq!(options.tls_options().is_some(), self.tls);

        let (config, default) = (&options.config, &default.config);
        let login = self.login.as_ref().map(|(user, password)| Credentials::new(user, password));
        assert!(config.credentials == login.unwrap_or_else(|| default.credentials.clone()), "{text}");
        let virtual_host =
            self.virtual_host.as_ref().map_or(default.virtual_host.as_bytes(), |it| it.as_bytes());
        assert_eq!(config.virtual_host.as_bytes(), virtual_host);
        let name = config.connection_name.as_ref().map(|name| name.as_bytes());
        assert_eq!(name, self.name.as_ref().map(|name| name.as_bytes()));
        let heartbeat =
            self.heartbeat.map(|it| NonZeroU16::new(it).map_or(Heartbeat::Off, Heartbeat::Seconds));
        assert_eq!(config.heartbeat, heartbeat.unwrap_or(default.heartbeat));
        let timeout = self.timeout.map(Duration::from_millis);
        assert_eq!(config.connect_timeout, timeout.unwrap_or(default.connect_timeout));
        assert_eq!(config.channel_max, self.channel_max.unwrap_or(default.channel_max));
        assert_eq!(config.frame_max, self.frame_max.unwrap_or(default.frame_max));
    }
}

/// Some text of at most so many bytes: its length, then the text.
fn text(script: &mut Script<'_>, most: usize) -> String {
    let len = script.next();
    let mut text = String::from_utf8_lossy(script.take(len.into())).into_owned();
    while text.len() > most {
        text.pop();
    }
    text
}

/// Percent-encoded, but for what need not be (RFC 3986, section 2.3).
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for octet in text.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(octet.into()),
            octet => {
                let _ = write!(out, "%{octet:02X}");
            }
        }
    }
    out
}
