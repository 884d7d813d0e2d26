//! The async AMQP client and the embeddable broker of HopMQ, for any runtime.
//!
//! Most users want an adapter, such as `hopmq-tokio`, which re-exports everything here. This crate knows no runtime:
//! the traits in [`io`] are what an adapter implements.

#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod addresses;
mod broker;
mod client;
mod driver;
pub mod io;
pub mod memory;
mod tls;
mod trace_context;

pub use broker::Broker;
pub use bytes::Bytes;
pub use client::{
    Buffered, Call, Channel, Confirm, Confirms, ConfirmsError, ConnectError, ConnectOptions, Connection,
    Consume, Consumer, ConsumerEnd, DeadLetterStrategy, DeclareExchange, DeclareQueue, Delivery, Endpoint,
    Error, ExchangeKind, GotDelivery, LeaderLocator, NewPublisher, NewRpcClient, NoWait, OnError, Overflow,
    Publish, PublishError, Publisher, Publishing, Queue, Received, Response, RpcCall, RpcClient, RpcError,
    RpcServer, Sending, SendingUnconfirmed, Specified, StreamOffset, Transaction, Unspecified, UriError,
    WaitForConfirms,
};
pub use client::{
    ConnectionEvent, ConnectionState, CredentialsProvider, Events, ProvidedCredentials, ProviderError,
    Providing,
};
#[cfg(feature = "json")]
pub use client::{PayloadError, from_json, json_properties};
pub use hopmq_proto::Instant;
pub use hopmq_proto::amqp::{
    Credentials, FieldTable, FieldValue, LongStr, Mechanism, Properties, ReplyCode, SaslError, Secret,
    ShortStr, WireError,
};
pub use hopmq_proto::broker::{Config as BrokerConfig, Disk, QueueStats, User};
pub use hopmq_proto::client::{
    Backoff, CallError, CloseReason, CommandError, Config, ConfirmFailures, Entity, EntityFilter,
    EntityOutcome, HandshakeError, HandshakeStep, Heartbeat, Lost, Message, PeerMisbehaved, ProtocolVersion,
    Recovery, RecoveryMode, Refused, Returned, ServerClose, ServerInfo, SettleError, WhenLost,
};
pub use tls::{Pem, ServerName, TlsError, TlsOptions};
#[cfg(feature = "tls")]
pub use tls::{TlsListener, TlsStream};
pub use trace_context::{SpanId, TraceContext, TraceContextError, TraceId, TraceState};
