//! The client's handles: what a user holds of a connection, and waits on.

mod answers;
mod arguments;
mod call;
mod channel;
mod confirm;
mod connect;
mod connection;
mod consumer;
mod delivery;
mod endpoint;
mod error;
mod events;
mod exchange;
mod handle;
#[cfg(feature = "json")]
mod json;
mod no_wait;
mod options;
mod provider;
mod publish;
mod publisher;
mod queue;
mod queue_arguments;
mod renewal;
mod replies;
mod rpc;
mod serve;
mod shared;
mod transaction;
mod uri;
mod waits;

pub use call::Call;
pub use channel::Channel;
pub use confirm::{Confirm, Confirms, ConfirmsError, WaitForConfirms};
pub use connection::Connection;
pub use consumer::{Buffered, Consume, Consumer, StreamOffset};
pub use delivery::{Delivery, GotDelivery};
pub use endpoint::Endpoint;
pub use error::{ConnectError, Error, PublishError};
pub use events::{ConnectionEvent, Events};
pub use exchange::{DeclareExchange, ExchangeKind};
pub use handle::{OnError, Received};
#[cfg(feature = "json")]
pub use json::{PayloadError, from_json, json_properties};
pub use no_wait::NoWait;
pub use options::ConnectOptions;
pub use provider::{CredentialsProvider, ProvidedCredentials, ProviderError, Providing};
pub use publish::{Publish, Publishing, Sending, SendingUnconfirmed};
pub use publisher::{NewPublisher, Publisher};
pub use queue::{DeclareQueue, Queue, Specified, Unspecified};
pub use queue_arguments::{DeadLetterStrategy, LeaderLocator, Overflow};
pub use rpc::{NewRpcClient, RpcCall, RpcClient, RpcError};
pub use serve::{Response, RpcServer};
pub use shared::ConsumerEnd;
pub use transaction::Transaction;
pub use uri::UriError;
