//! Which clients are accepted.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use rpyc_client::{Fingerprint, TlsError};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DistinguishedName, RootCertStore};
use tokio_rustls::rustls;

/// Clients that are known.
#[derive(Clone, Default)]
pub(super) struct Clients {
    /// Who issues their certificates.
    authorities: Option<Arc<RootCertStore>>,
    /// The certificates of the authorities themselves, which clients may show too: one that signed
    /// itself is its own authority, and is marked as one, so the chain's rules would not let it in.
    listed: BTreeSet<Fingerprint>,
    /// Those that are known by their certificates alone.
    pinned: BTreeSet<Fingerprint>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authorities = self.authorities.as_ref().map_or(0, |roots| roots.len());
        f.debug_struct("Clients")
            .field("authorities", &authorities)
            .field("pinned", &self.pinned)
            .finish()
    }
}

impl Clients {
    pub(super) fn with_authorities(
        self,
        authorities: RootCertStore,
        listed: BTreeSet<Fingerprint>,
    ) -> Self {
        Self { authorities: Some(Arc::new(authorities)), listed, ..self }
    }

    pub(super) fn with_pinned(mut self, pinned: impl IntoIterator<Item = Fingerprint>) -> Self {
        self.pinned.extend(pinned);
        self
    }

    pub(super) fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let algorithms = provider.signature_verification_algorithms;
        let issued = self.authorities.clone().map(|roots| {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            verifier.map_err(|_empty| TlsError::Missing)
        });
        let known = self.listed.union(&self.pinned).copied().collect();
        let has_hints = self.pinned.is_empty();
        Ok(Arc::new(KnownClients { issued: issued.transpose()?, known, has_hints, algorithms }))
    }
}

/// Knows clients by their certificates alone, and others by who issued theirs.
///
/// In either case the client must prove that it has the certificate's key.
#[derive(Debug)]
struct KnownClients {
    issued: Option<Arc<dyn ClientCertVerifier>>,
    known: BTreeSet<Fingerprint>,
    /// Whether clients learn whose certificates are accepted.
    has_hints: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for KnownClients {
    /// The authorities. None if there are pinned certificates, so that a client shows whatever it
    /// has.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match &self.issued {
            Some(issued) if self.has_hints => issued.root_hint_subjects(),
            _ => &[],
        }
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match &self.issued {
            _ if self.known.contains(&Fingerprint::of_der(certificate)) => {
                Ok(ClientCertVerified::assertion())
            }
            Some(issued) => issued.verify_client_cert(certificate, intermediates, now),
            None => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    rpyc_client::__verify_signatures!();
}
