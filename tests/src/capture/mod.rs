//! What goes through a proxy, written down as a network would have carried it, for tshark to judge.
//!
//! Capturing needs privileges; a proxy in front of the broker needs none. The addresses, ports and times of the packets
//! are made up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod frames;
mod judge;
mod pcap;
mod tshark;

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hopmq_tokio::ConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::scenarios::boxed::Scenario;
use crate::scenarios::{self, Runtime, Server, eventually};
use frames::Frame;

/// Where the broker is in the capture: tshark knows this as the port of AMQP.
const SERVER_PORT: u16 = 5672;
/// Each connection is known by its client's port.
const CLIENT_PORTS: Range<u16> = 10_000..60_000;
const READ_BYTES: usize = 16 << 10;

/// A proxy in front of a broker, which writes down what goes each way.
#[derive(Debug)]
pub struct Capture {
    uri: String,
    record: Arc<Mutex<Record>>,
    accepting: JoinHandle<()>,
}

/// What has gone through.
#[derive(Debug)]
pub struct Captured {
    packets: Vec<Packet>,
}

/// One direction of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stream {
    /// The client's port in the capture.
    connection: u16,
    to_server: bool,
}

#[derive(Debug, Default)]
struct Record {
    packets: Vec<Packet>,
    connections: u16,
    /// How many of them have not ended.
    open: u16,
}

#[derive(Debug)]
struct Packet {
    stream: Stream,
    what: What,
}

#[derive(Debug)]
enum What {
    Syn,
    Data(Bytes),
    Fin,
}

impl Capture {
    /// Listens, and hands every connection on to the broker at `uri`, which speaks without TLS.
    pub async fn before(uri: &str) -> Self {
        let options: ConnectOptions = uri.parse().unwrap();
        let server = options.endpoints()[0].clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap().to_string();
        let uri = uri.replacen(&format!("{}:{}", server.host, server.port), &here, 1);
        assert!(uri.contains(&here), "{uri}");
        let record = Arc::new(Mutex::new(Record::default()));
        let recorded = record.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let broker = TcpStream::connect((server.host.as_str(), server.port)).await.unwrap();
                tokio::spawn(pass(client, broker, recorded.clone()));
            }
        });
        Self { uri, record, accepting }
    }

    /// The broker's URI, through the proxy.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Plays the scenarios through the proxy, one by one.
    pub fn play(&self, runtime: &Runtime, scenarios: impl IntoIterator<Item = Scenario>) {
        for scenario in scenarios {
            scenarios::run(runtime, async |on| Server::at(on, &self.uri), scenario);
        }
    }

    /// What has gone through, when every connection has ended.
    pub async fn finish(self) -> Captured {
        eventually("every connection has ended", async || self.record.lock().unwrap().open == 0).await;
        self.accepting.abort();
        let record = std::mem::take(&mut *self.record.lock().unwrap());
        Captured { packets: record.packets }
    }
}

impl Record {
    /// The two directions of a new connection.
    fn connected(&mut self) -> [Stream; 2] {
        let connection = CLIENT_PORTS.start + self.connections;
        assert!(CLIENT_PORTS.contains(&connection), "too many connections for one capture");
        self.connections += 1;
        self.open += 1;
        let both = [true, false].map(|to_server| Stream { connection, to_server });
        self.packets.extend(both.map(|stream| Packet { stream, what: What::Syn }));
        both
    }
}

async fn pass(client: TcpStream, broker: TcpStream, record: Arc<Mutex<Record>>) {
    for socket in [&client, &broker] {
        socket.set_nodelay(true).unwrap();
    }
    let [there, back] = record.lock().unwrap().connected();
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    // When one socket fails both are dropped, so that the other side sees its connection end as well.
    let _ = tokio::try_join!(
        pass_on(from_client, to_broker, there, &record),
        pass_on(from_broker, to_client, back, &record),
    );
    record.lock().unwrap().open -= 1;
}

async fn pass_on(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    stream: Stream,
    record: &Mutex<Record>,
) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        let data = Bytes::copy_from_slice(&buffer[..read]);
        let what = if read == 0 { What::Fin } else { What::Data(data.clone()) };
        // Written down before it goes on, so that an answer stands behind its question.
        record.lock().unwrap().packets.push(Packet { stream, what });
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&data).await?;
    }
}
