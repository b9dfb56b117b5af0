//! Connections over TLS, and which peers to trust.

mod expected;
mod fingerprint;
mod signatures;

use std::fmt;
use std::io;
use std::sync::Arc;

pub(crate) use expected::Expected;
pub use fingerprint::Fingerprint;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsConnector, rustls};

/// How a server is known, and how this program shows who it is.
///
/// A server must show a certificate for the expected name, issued by one of the authorities that
/// the system trusts. RPyC's servers often have a self-signed certificate without a name in it:
/// [`Tls::pinning`] trusts that one certificate.
///
/// | Connected | Expected name in the certificate |
/// |---|---|
/// | to an address, [`connect`](crate::connect) | the host of the address |
/// | by a name, [`connect_by_service`](crate::connect_by_service) | it in lower case: `payroll` |
/// | either way, with [`expecting_name`](Self::expecting_name) | the stated name |
///
/// The host that a registry returns proves nothing: any program that reaches the registry may
/// register a name with its host, for which it has a valid certificate.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use rpyc_client::{Connection, Tls};
///
/// let tls = Tls::pinning(&std::fs::read("server.crt")?)?
///     .with_identity(&std::fs::read("client.crt")?, &std::fs::read("client.key")?)?;
/// let connection = Connection::builder().tls(tls).connect("payroll.example:18821").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Tls {
    trust: Trust,
    identity: Option<Identity>,
    server_name: Option<ServerName<'static>>,
    trusts_registered_hosts: bool,
}

#[derive(Clone)]
enum Trust {
    System,
    Authorities(Arc<RootCertStore>),
    Pinned(Fingerprint),
    Anybody,
}

/// A certificate and its key. The key is never shown.
#[derive(Clone)]
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
}

impl Default for Tls {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trust = match &self.trust {
            Trust::System => "system",
            Trust::Authorities(_) => "authorities",
            Trust::Pinned(_) => "pinned",
            Trust::Anybody => "anybody",
        };
        f.debug_struct("Tls").field("trust", &trust).finish_non_exhaustive()
    }
}

impl Tls {
    /// Trusts the authorities that the system trusts.
    pub fn new() -> Self {
        Self::trusting(Trust::System)
    }

    /// Trusts these authorities only: certificates in PEM.
    ///
    /// # Errors
    /// [`TlsError`] if a certificate is missing or unreadable.
    pub fn with_authorities(pem: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem)? {
            roots.add(certificate).map_err(TlsError::Certificate)?;
        }
        Ok(Self::trusting(Trust::Authorities(Arc::new(roots))))
    }

    /// Trusts this very certificate and no other: in PEM or DER. Its name, its issuer and its dates
    /// are of no account.
    ///
    /// # Errors
    /// [`TlsError`] if it cannot be read.
    pub fn pinning(certificate: &[u8]) -> Result<Self, TlsError> {
        Ok(Self::trusting(Trust::Pinned(Fingerprint::of(certificate)?)))
    }

    /// Trusts the certificate with this fingerprint and no other, as `openssl x509 -fingerprint
    /// -sha256` prints it, with colons or without. Its name, its issuer and its dates are of no
    /// account.
    ///
    /// # Errors
    /// [`TlsError::Fingerprint`] if it is not 64 hexadecimal digits.
    pub fn pinning_sha256(fingerprint: &str) -> Result<Self, TlsError> {
        Ok(Self::trusting(Trust::Pinned(fingerprint.parse()?)))
    }

    /// Trusts every server, as RPyC does by default: protects against eavesdroppers, but not
    /// against impostors.
    pub fn dangerously_trusting_anybody() -> Self {
        Self::trusting(Trust::Anybody)
    }

    fn trusting(trust: Trust) -> Self {
        Self { trust, identity: None, server_name: None, trusts_registered_hosts: false }
    }

    /// Shows this certificate to servers that ask for one: certificate and chain, and key, in PEM.
    ///
    /// # Errors
    /// [`TlsError`] if they cannot be read.
    pub fn with_identity(mut self, chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_unread| TlsError::Key)?;
        self.identity = Some(Identity { chain, key: Arc::new(key) });
        Ok(self)
    }

    /// Expects this name, or address, in the certificate, instead of the host that is connected to
    /// or the name of the service.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use rpyc_client::{Connection, Tls};
    ///
    /// let tls = Tls::new().expecting_name("payroll.example.com")?;
    /// let payroll = Connection::builder().tls(tls).connect_by_service("PAYROLL").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TlsError::Name`] if it is none.
    pub fn expecting_name(mut self, name: &str) -> Result<Self, TlsError> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_unread| TlsError::Name)?;
        self.server_name = Some(name);
        Ok(self)
    }

    /// For a service that is found by its name, expects the host that the registry returns. Then
    /// every program that can register the name can be its server, with a certificate for its own
    /// host. Safe only if the registry lets no other program register the name. Default: the name
    /// of the service.
    pub fn dangerously_trusting_registered_hosts(mut self) -> Self {
        self.trusts_registered_hosts = true;
        self
    }

    /// Puts TLS over a stream to `host`, a name or an address, which the certificate must hold
    /// unless [`expecting_name`](Self::expecting_name) states another. A host that a registry has
    /// returned is no name to expect.
    ///
    /// # Errors
    /// What the handshake or the stream says; a certificate that is not trusted is such an error.
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn handshake<S>(
        &self,
        host: &str,
        stream: S,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + use<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.over(Expected::host(host), stream).await
    }

    pub(crate) async fn over<S>(
        &self,
        expected: Expected<'_>,
        stream: S,
    ) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = self.name_of(&expected)?;
        let config = self.config().map_err(io::Error::other)?;
        let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        connected.map_err(|error| {
            if self.is_by_service(&expected) { expected.explain(error) } else { error }
        })
    }

    /// Whether the certificate must hold the name of the service.
    fn is_by_service(&self, expected: &Expected<'_>) -> bool {
        self.server_name.is_none() && !self.trusts_registered_hosts && expected.service.is_some()
    }

    /// The name that the certificate must hold.
    fn name_of(&self, expected: &Expected<'_>) -> io::Result<ServerName<'static>> {
        if let Some(name) = &self.server_name {
            return Ok(name.clone());
        }
        let name = match self.is_by_service(expected) {
            true => expected.service_name(),
            false => expected.host_name(),
        };
        match &self.trust {
            // These look at no name; the server is shown one all the same.
            Trust::Pinned(_) | Trust::Anybody => {
                Ok(name.or_else(|_| expected.host_name()).unwrap_or_else(|_| expected::no_name()))
            }
            Trust::System | Trust::Authorities(_) => name,
        }
    }

    fn config(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Certificate)?;
        let roots = |roots| -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
            Ok(verifier.build().map_err(|_empty| TlsError::Missing)?)
        };
        let verifier = match &self.trust {
            Trust::System => roots(Arc::new(system_roots()))?,
            Trust::Authorities(authorities) => roots(authorities.clone())?,
            Trust::Pinned(pin) => Arc::new(Direct::new(Some(*pin), &provider)),
            Trust::Anybody => Arc::new(Direct::new(None, &provider)),
        };
        // "Dangerous" is what rustls calls every verifier that is given to it; most of these are
        // its own.
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        match &self.identity {
            Some(Identity { chain, key }) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(TlsError::Certificate),
            None => Ok(builder.with_no_client_auth()),
        }
    }
}

/// The certificates in PEM; there is at least one.
#[doc(hidden)]
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(TlsError::Missing),
    }
}

/// The first certificate in PEM, or the one in DER.
fn one_certificate(bytes: &[u8]) -> Result<CertificateDer<'static>, TlsError> {
    // A sequence, as which every certificate in DER begins; no text does.
    if bytes.first() == Some(&0x30) {
        return Ok(CertificateDer::from(bytes.to_vec()));
    }
    certificates(bytes)?.into_iter().next().ok_or(TlsError::Missing)
}

/// The authorities that the system trusts. Unreadable ones are left out.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// Verifies a server by its certificate alone, or trusts every server.
///
/// In either case the server must prove that it has the certificate's key.
#[derive(Debug)]
struct Direct {
    pin: Option<Fingerprint>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Direct {
    fn new(pin: Option<Fingerprint>, provider: &CryptoProvider) -> Self {
        Self { pin, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for Direct {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pin.is_none_or(|pinned| pinned == Fingerprint::of_der(certificate)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    crate::__verify_signatures!();
}

/// An invalid setting of TLS; the fault of the caller.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A certificate or its key is refused.
    #[error("cannot use a certificate")]
    Certificate(#[source] rustls::Error),
    /// The fingerprint is not 64 hexadecimal digits.
    #[error("a fingerprint is 64 hexadecimal digits, with colons or without")]
    Fingerprint,
    /// The text holds no key in PEM.
    #[error("cannot read a private key")]
    Key,
    /// The text holds no certificate in PEM, or the system trusts none.
    #[error("cannot read a certificate")]
    Missing,
    /// Neither a host's name nor an address.
    #[error("invalid server name")]
    Name,
}
