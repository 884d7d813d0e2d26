use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName as Name, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, InvalidMessage, RootCertStore,
    SignatureScheme,
};

use super::{Pem, ServerName, TlsError, TlsOptions, TlsStream};
use crate::io::Transport;

/// A transport with TLS in it.
pub(crate) type Secured<T> = TlsStream<T>;

/// TLS with one server.
#[derive(Debug)]
pub(crate) struct TlsClient {
    config: Arc<ClientConfig>,
    /// What the server has to prove.
    name: Name<'static>,
}

impl TlsOptions {
    /// Reads the certificates, and prepares TLS with `host`.
    pub(crate) fn client(&self, host: &str) -> Result<TlsClient, TlsError> {
        let name = match &self.server_name {
            ServerName::Name(name) => name,
            ServerName::Host | ServerName::NotSent => host,
        };
        let parsed = Name::try_from(name.to_owned()).map_err(|_| TlsError::ServerName(name.to_owned()))?;
        let mut config = self.config()?;
        config.enable_sni = self.server_name != ServerName::NotSent;
        Ok(TlsClient { config: Arc::new(config), name: parsed })
    }

    fn config(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder?;
        let builder = if self.accepts_any_certificate {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        match &self.identity {
            Some((certificates, key)) => {
                Ok(builder.with_client_auth_cert(certificates.certificates()?, key.key()?)?)
            }
            None => Ok(builder.with_no_client_auth()),
        }
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for pem in &self.authorities {
            for certificate in pem.certificates()? {
                roots.add(certificate).map_err(|error| pem.wrong(format!("has an unusable one: {error}")))?;
            }
        }
        if self.authorities.is_empty() {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let why: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
                let why = format!("the system trusts no authorities {}", why.join("; "));
                return Err(TlsError::Config(why.trim_end().to_owned()));
            }
        }
        Ok(roots)
    }
}

impl TlsClient {
    /// Speaks TLS in `transport`, until the server has proved who it is.
    pub(crate) async fn connect<T: Transport>(&self, transport: T) -> Result<TlsStream<T>, TlsError> {
        let mut stream = self.start(transport)?;
        stream.handshake().await.map_err(|error| self.handshake_error(error))?;
        Ok(stream)
    }

    pub(super) fn start<T: Transport>(&self, transport: T) -> Result<TlsStream<T>, TlsError> {
        let tls = ClientConnection::new(self.config.clone(), self.name.clone())?;
        Ok(TlsStream::new(tls, transport))
    }

    /// What it means that the handshake ended with this error.
    fn handshake_error(&self, error: io::Error) -> TlsError {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(problem)) => {
                let problem = match problem {
                    CertificateError::UnknownIssuer => {
                        format!("no trusted authority has signed it ({problem})")
                    }
                    problem => problem.to_string(),
                };
                TlsError::Verify { name: self.name.to_str().into_owned(), problem }
            }
            Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
                let problem = format!("the server does not speak TLS ({error})");
                TlsError::Handshake(io::Error::new(error.kind(), problem))
            }
            _ => TlsError::Handshake(error),
        }
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Config(error.to_string())
    }
}

impl Pem {
    fn read(&self) -> Result<Vec<u8>, TlsError> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => {
                std::fs::read(path).map_err(|error| TlsError::File { path: path.clone(), error })
            }
        }
    }

    fn wrong(&self, problem: impl Into<String>) -> TlsError {
        let pem = match self {
            Self::File(path) => path.display().to_string(),
            Self::Text(_) => "a PEM text".to_owned(),
        };
        TlsError::Pem { pem, problem: problem.into() }
    }

    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.read()?).collect();
        match found {
            Ok(certificates) if certificates.is_empty() => Err(self.wrong("has no certificate in it")),
            Ok(certificates) => Ok(certificates),
            Err(error) => Err(self.wrong(format!("is no PEM: {error}"))),
        }
    }

    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let text = self.read()?;
        if text.windows(9).any(|window| window == b"ENCRYPTED") {
            return Err(self.wrong("has an encrypted key, which is not supported: decrypt it first"));
        }
        PrivateKeyDer::from_pem_slice(&text)
            .map_err(|error| self.wrong(format!("has no private key: {error}")))
    }
}

/// Takes any certificate, as long as whoever shows it has its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &Name<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
