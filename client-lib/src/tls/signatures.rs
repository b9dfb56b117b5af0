//! The half of a certificate verifier that is the same for clients and for servers.

/// Implements the methods of rustls' verifier traits that check signatures, for a type with a field
/// `algorithms`. A macro, since each trait has its own copy of the methods.
#[doc(hidden)]
#[macro_export]
macro_rules! __verify_signatures {
    () => {
        $crate::__verify_signatures!(verify_tls12_signature);
        $crate::__verify_signatures!(verify_tls13_signature);

        fn supported_verify_schemes(&self) -> Vec<::tokio_rustls::rustls::SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    };
    ($verify:ident) => {
        fn $verify(
            &self,
            message: &[u8],
            certificate: &::tokio_rustls::rustls::pki_types::CertificateDer<'_>,
            signature: &::tokio_rustls::rustls::DigitallySignedStruct,
        ) -> Result<
            ::tokio_rustls::rustls::client::danger::HandshakeSignatureValid,
            ::tokio_rustls::rustls::Error,
        > {
            let algorithms = &self.algorithms;
            ::tokio_rustls::rustls::crypto::$verify(message, certificate, signature, algorithms)
        }
    };
}
