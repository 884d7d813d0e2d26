use hopmq::{ConnectError, ConnectOptions, Connection};

use crate::dial::TcpDialer;
use crate::runtime::Smol;

/// Connects to the broker at `uri`, and runs the connection on smol's global executor; [`Smol::on`] tells of others.
///
/// The URI is as [`ConnectOptions`] says, most simply `amqp://localhost`. Dropping the future gives up.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let connection = hopmq_smol::connect("amqp://localhost").await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// When the URI is wrong, or there is no connection within `connection_timeout` (10 s where the URI does not say).
pub async fn connect(uri: &str) -> Result<Connection, ConnectError> {
    connect_with(uri.parse()?).await
}

/// Connects as `options` say, and runs the connection on smol's global executor; [`Smol::on`] tells of others.
///
/// # Errors
///
/// When there is no connection within `connect_timeout`, which covers name look-up, TCP, TLS and the AMQP
/// handshake.
pub async fn connect_with(options: ConnectOptions) -> Result<Connection, ConnectError> {
    Connection::connect(&Smol::current(), TcpDialer, options).await
}
