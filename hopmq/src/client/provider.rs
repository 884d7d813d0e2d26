use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hopmq_proto::amqp::Credentials;

/// How long a provider has its peace at least.
const REFRESH_MIN: Duration = Duration::from_secs(1);

/// Why a [`CredentialsProvider`] has none.
pub type ProviderError = Box<dyn Error + Send + Sync>;

/// Who logs in, asked anew at each connect, and again before the credentials expire: for tokens (OAuth 2) and passwords
/// that rotate.
///
/// Any closure that gives a future of [`ProvidedCredentials`] is one:
///
/// ```
/// use std::time::Duration;
/// use hopmq::{ConnectOptions, Credentials, ProvidedCredentials, ProviderError};
///
/// async fn fetch_token() -> Result<String, ProviderError> {
///     Ok("ey...".to_owned())
/// }
///
/// let options = ConnectOptions::new().credentials_provider(|| async {
///     let credentials = Credentials::new("", &fetch_token().await?);
///     Ok(ProvidedCredentials::new(credentials).expires_in(Duration::from_secs(3600)))
/// });
/// ```
pub trait CredentialsProvider: Send + Sync + 'static {
    /// Gives credentials. The future is dropped when it takes longer than `connect_timeout`.
    ///
    /// # Errors
    ///
    /// From the future, when there are none. A connect fails with it; a renewal is tried again.
    fn provide(&self) -> Providing<'_>;
}

/// The future of [`CredentialsProvider::provide`].
pub type Providing<'a> =
    Pin<Box<dyn Future<Output = Result<ProvidedCredentials, ProviderError>> + Send + 'a>>;

impl<F, P> CredentialsProvider for F
where
    F: Fn() -> P + Send + Sync + 'static,
    P: Future<Output = Result<ProvidedCredentials, ProviderError>> + Send + 'static,
{
    fn provide(&self) -> Providing<'_> {
        Box::pin(self())
    }
}

/// Credentials, and how long they are good for. `Debug` does not show the password.
#[derive(Debug, Clone)]
pub struct ProvidedCredentials {
    pub(super) credentials: Credentials,
    pub(super) expires_in: Option<Duration>,
    refresh_in: Option<Duration>,
}

impl ProvidedCredentials {
    /// Credentials that do not expire.
    #[must_use]
    pub const fn new(credentials: Credentials) -> Self {
        Self { credentials, expires_in: None, refresh_in: None }
    }

    /// They expire so long from when they are given. The provider is asked again when four fifths of that have passed, a
    /// second at least.
    #[must_use]
    pub const fn expires_in(mut self, time: Duration) -> Self {
        self.expires_in = Some(time);
        self
    }

    /// The provider is asked again so long from when they are given, a second at least.
    #[must_use]
    pub const fn refresh_in(mut self, time: Duration) -> Self {
        self.refresh_in = Some(time);
        self
    }

    /// When to ask again, from when they were given.
    pub(super) fn refresh_after(&self) -> Option<Duration> {
        let after = self.refresh_in.or_else(|| Some(self.expires_in? / 5 * 4))?;
        Some(after.max(REFRESH_MIN))
    }
}

impl From<Credentials> for ProvidedCredentials {
    fn from(credentials: Credentials) -> Self {
        Self::new(credentials)
    }
}

/// A provider that options can hold.
#[derive(Clone)]
pub(super) struct Provider(pub(super) Arc<dyn CredentialsProvider>);

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Provider").finish_non_exhaustive()
    }
}
