use hopmq::{ConnectError, ConnectOptions, Connection, Endpoint};

use crate::run::Io;

/// Connects to the broker at `uri`, and gives the connection and the work that it needs done.
///
/// The URI is as [`ConnectOptions`] says, most simply `amqp://localhost`.
///
/// ```no_run
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let (connection, io) = hopmq_blocking::connect("amqp://localhost")?;
/// let io = std::thread::spawn(move || io.run());
/// # let _ = (connection, io);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// When the URI is wrong, or there is no connection within `connection_timeout` (10 s where the URI does not say).
pub fn connect(uri: &str) -> Result<(Connection, Io), ConnectError> {
    connect_with(uri.parse()?)
}

/// Connects as `options` say, and gives the connection and the work that it needs done.
///
/// # Errors
///
/// When there is no connection within `connect_timeout`, which covers TCP, TLS and the AMQP handshake. How long it takes
/// to look up a name is the system's business; after a loss, too, the [`Io`] waits for it.
pub fn connect_with(options: ConnectOptions) -> Result<(Connection, Io), ConnectError> {
    let endpoint = options.endpoints().into_iter().next();
    let failed = |error| ConnectError::Dial {
        endpoint: endpoint.clone().unwrap_or(Endpoint { host: String::new(), port: 0 }),
        error,
    };
    let mut io = Io::new().map_err(failed)?;
    let (runtime, dialer) = (io.handle().clone(), io.dialer().map_err(failed)?);
    let connection = io.run_until(Connection::connect(&runtime, dialer, options)).map_err(failed)??;
    Ok((connection, io))
}
