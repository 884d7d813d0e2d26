use hopmq::{ConnectError, ConnectOptions, Connection};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::runtime::Tokio;
use crate::tcp::Stream;

/// Connects to the broker at `uri`, and runs the connection on the current tokio runtime.
///
/// The URI is as [`ConnectOptions`] says, most simply `amqp://localhost`. Dropping the future gives up.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let connection = hopmq_tokio::connect("amqp://localhost").await?;
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

/// Connects as `options` say, and runs the connection on the current tokio runtime.
///
/// # Errors
///
/// When there is no connection within `connect_timeout`, which covers name look-up, TCP and the AMQP handshake.
pub async fn connect_with(options: ConnectOptions) -> Result<Connection, ConnectError> {
    let address = options.address();
    let mut config = options.config;
    let start = Instant::now();
    let dial = TcpStream::connect((options.host.as_str(), options.port));
    let stream = match timeout(config.connect_timeout, dial).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(ConnectError::Dial { address, error }),
        Err(_) => return Err(ConnectError::DialTimeout { address }),
    };
    if let Err(error) = stream.set_nodelay(true) {
        return Err(ConnectError::Dial { address, error });
    }
    config.connect_timeout = config.connect_timeout.saturating_sub(start.elapsed());
    let opened = Connection::open(&Tokio::current(), Stream(stream), config).await;
    opened.map_err(|reason| ConnectError::Refused { address, reason })
}
