//! Certificates known by their digests.

use std::fmt;
use std::str::FromStr;

use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use tokio_rustls::rustls;

use super::{TlsError, one_certificate};

/// How many bytes a digest of SHA-256 has.
const LENGTH: usize = 32;

/// The SHA-256 digest of a certificate: what `openssl x509 -fingerprint -sha256` prints.
///
/// It is read with colons or without, and shown with them.
///
/// ```
/// use rpyc_client::Fingerprint;
///
/// let known: Fingerprint = "ab".repeat(32).parse()?;
/// assert!(known.to_string().starts_with("AB:AB:"));
/// # Ok::<(), rpyc_client::TlsError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; LENGTH]);

impl Fingerprint {
    /// That of a certificate in PEM or DER, the first if there are several.
    ///
    /// # Errors
    /// [`TlsError::Missing`] if the text holds no certificate.
    pub fn of(certificate: &[u8]) -> Result<Self, TlsError> {
        Ok(Self::of_der(&one_certificate(certificate)?))
    }

    /// That of a certificate in DER, as which [`Peer::certificate`](crate::Peer::certificate) has
    /// it.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "the expectations always hold")]
    pub fn of_der(certificate: &[u8]) -> Self {
        let suite = TLS13_AES_128_GCM_SHA256.tls13().expect("it is a suite of TLS 1.3");
        let digest = suite.common.hash_provider.hash(certificate);
        Self(digest.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
    }

    /// The digest itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

impl From<[u8; LENGTH]> for Fingerprint {
    fn from(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Fingerprint {
    type Err = TlsError;

    fn from_str(text: &str) -> Result<Self, TlsError> {
        let digits: Vec<u8> = text
            .chars()
            .filter(|digit| *digit != ':')
            .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or(TlsError::Fingerprint)?;
        let (pairs, rest) = digits.as_chunks::<2>();
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        match <[u8; LENGTH]>::try_from(bytes) {
            Ok(bytes) if rest.is_empty() => Ok(Self(bytes)),
            _ => Err(TlsError::Fingerprint),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_with_colons_or_without() {
        let check = |text: &str, is_one: bool| {
            assert_eq!(text.parse::<Fingerprint>().is_ok(), is_one, "{text}");
        };
        check(&"ab".repeat(32), true);
        check(&"AB:".repeat(32), true);
        check(&"ab".repeat(31), false);
        check(&"ab".repeat(33), false);
        check(&format!("{}a", "ab".repeat(31)), false);
        check(&"x".repeat(64), false);
        check("", false);
        let known: Fingerprint = "0f".repeat(32).parse().unwrap();
        assert_eq!(known.to_string().parse::<Fingerprint>().unwrap(), known);
        // The output of `printf abc | sha256sum`.
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Fingerprint::of_der(b"abc"), digest.parse().unwrap());
    }
}
