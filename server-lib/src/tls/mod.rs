//! Serving over TLS, and which clients to accept.

mod clients;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;

use rpyc_client::{__certificates as certificates, Fingerprint, TlsError};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, rustls};

use clients::Clients;

/// How a server shows who it is, and which clients it accepts.
///
/// ```no_run
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use rpyc_server::ServerTls;
///
/// let tls = ServerTls::new(&std::fs::read("server.crt")?, &std::fs::read("server.key")?)?;
/// let for_clients_of_ours = tls.requiring_clients_of(&std::fs::read("clients-ca.crt")?)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct ServerTls {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
    /// The clients that are accepted; `None` accepts all.
    clients: Option<Clients>,
    acceptor: TlsAcceptor,
}

/// The key is never shown.
impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("clients", &self.clients).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Shows this certificate (with its chain) to clients: certificates and key in PEM.
    ///
    /// # Errors
    /// [`TlsError`] if they cannot be read, or do not belong together.
    pub fn new(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_unread| TlsError::Key)?;
        Self::build(chain, Arc::new(key), None)
    }

    /// Accepts only clients that show a certificate issued by one of these authorities, or one of
    /// these very certificates, in PEM. [`Peer::certificate`](crate::Peer::certificate) is what
    /// they show.
    ///
    /// So a client with a self-signed certificate can be listed by that certificate, as with
    /// Python's `SSLAuthenticator`. The dates of the listed certificates are of no account.
    ///
    /// # Errors
    /// [`TlsError`] if a certificate is missing or unreadable.
    pub fn requiring_clients_of(self, authorities: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let mut listed = BTreeSet::new();
        for certificate in certificates(authorities)? {
            listed.insert(Fingerprint::of_der(&certificate));
            roots.add(certificate).map_err(TlsError::Certificate)?;
        }
        let clients = self.clients.unwrap_or_default().with_authorities(roots, listed);
        Self::build(self.chain, self.key, Some(clients))
    }

    /// Accepts only clients that show one of these very certificates, whose names, issuers and
    /// dates are of no account; and those of [authorities](Self::requiring_clients_of), if there
    /// are any. [`Peer::fingerprint`](crate::Peer::fingerprint) identifies them.
    ///
    /// It is for clients with self-signed certificates, as those of RPyC often are. With none at
    /// all every client is refused.
    ///
    /// ```no_run
    /// # fn example(tls: rpyc_server::ServerTls) -> Result<(), Box<dyn std::error::Error>> {
    /// use rpyc_server::Fingerprint;
    ///
    /// let david = Fingerprint::of(&std::fs::read("david.crt")?)?;
    /// let ada: Fingerprint = "4E:B1:..".parse()?;
    /// let tls = tls.pinning_clients([david, ada])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TlsError`] if the certificate of the server cannot be used.
    pub fn pinning_clients(
        self,
        clients: impl IntoIterator<Item = Fingerprint>,
    ) -> Result<Self, TlsError> {
        let clients = self.clients.unwrap_or_default().with_pinned(clients);
        Self::build(self.chain, self.key, Some(clients))
    }

    fn build(
        chain: Vec<CertificateDer<'static>>,
        key: Arc<PrivateKeyDer<'static>>,
        clients: Option<Clients>,
    ) -> Result<Self, TlsError> {
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Certificate)?;
        let builder = match &clients {
            Some(clients) => builder.with_client_cert_verifier(clients.verifier(provider)?),
            None => builder.with_no_client_auth(),
        };
        let config = builder
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(TlsError::Certificate)?;
        Ok(Self { chain, key, clients, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Puts TLS over a stream; gives the client's certificate too.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<(TlsStream<S>, Option<Vec<u8>>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.acceptor.accept(stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate = certificate.map(|certificate| certificate.to_vec());
        Ok((stream, certificate))
    }
}
