use super::{TlsError, TlsOptions};

/// TLS with one server, which there is none of without the feature `tls`.
#[derive(Debug)]
pub(crate) enum TlsClient {}

/// A transport with TLS in it.
pub(crate) type Secured<T> = T;

impl TlsOptions {
    /// Says that it is not there.
    pub(crate) fn client(&self, _host: &str) -> Result<TlsClient, TlsError> {
        Err(TlsError::NotBuilt)
    }
}

impl TlsClient {
    pub(crate) async fn connect<T>(&self, _: T) -> Result<T, TlsError> {
        match *self {}
    }
}

#[test]
fn the_error_says_what_to_do() {
    let error = TlsOptions::new().client("localhost").unwrap_err();
    assert_eq!(error.to_string(), "TLS is not built in: it needs the feature \"tls\"");
}
