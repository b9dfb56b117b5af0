//! Names of services: the one place where they are folded to upper case.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use arrayvec::ArrayString;

/// Longest name in bytes of UTF-8, after folding.
const NAME_BYTES: usize = 255;

/// The name of a service, in upper case, cheap to clone.
///
/// RPyC compares names after Python's `str.upper()`, which maps every character by itself and may
/// lengthen the text (`ß` becomes `SS`). The same mapping is applied here, once, so that two
/// `ServiceName`s are the same service exactly when they are equal. RPyC allows every text, the
/// empty one included; only the length is bounded.
///
/// ```
/// use rpyc_protocol::ServiceName;
///
/// assert_eq!(ServiceName::new("payroll")?.as_str(), "PAYROLL");
/// assert_eq!(ServiceName::new("Straße")?.as_str(), "STRASSE");
/// assert!(ServiceName::new(&"x".repeat(255)).is_ok());
/// assert!(ServiceName::new(&"x".repeat(256)).is_err());
/// # Ok::<(), rpyc_protocol::NameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(Arc<str>);

impl ServiceName {
    /// Longest name in bytes of UTF-8, counted after folding.
    pub const MAX_BYTES: usize = NAME_BYTES;

    /// Folds `text` into a name.
    ///
    /// # Errors
    /// [`NameError`] if the folded name is longer than [`ServiceName::MAX_BYTES`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        FoldedName::new(text).map(|folded| folded.to_name())
    }

    /// The folded text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for ServiceName {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl std::str::FromStr for ServiceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Borrow<str> for ServiceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ServiceName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A folded name on the stack, to look one up without allocating.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FoldedName(ArrayString<NAME_BYTES>);

impl FoldedName {
    /// Folds `text`.
    ///
    /// # Errors
    /// [`NameError`] if the folded name is longer than [`ServiceName::MAX_BYTES`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        // Nearly every name, at a tenth of the cost.
        if text.is_ascii()
            && let Ok(mut folded) = ArrayString::from(text)
        {
            folded.make_ascii_uppercase();
            return Ok(Self(folded));
        }
        let upper = || text.chars().flat_map(char::to_uppercase);
        let mut folded = ArrayString::new();
        if upper().all(|character| folded.try_push(character).is_ok()) {
            return Ok(Self(folded));
        }
        let bytes = upper().map(char::len_utf8).sum();
        Err(NameError { shown: text.chars().take(32).collect(), bytes })
    }

    /// The same name as a value to keep.
    #[must_use]
    pub fn to_name(&self) -> ServiceName {
        ServiceName(Arc::from(self.0.as_str()))
    }
}

impl Deref for FoldedName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A service name that is too long; the fault of the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the service name {shown:?}… has {bytes} bytes in upper case; at most {NAME_BYTES} are allowed"
)]
pub struct NameError {
    shown: String,
    bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_is_pythons_upper() {
        // Each right side is what CPython 3.11 gives for `left.upper()`.
        let cases = [
            ("", ""),
            ("foo", "FOO"),
            ("ß", "SS"),
            ("ŉ", "ʼN"),
            ("\u{390}", "\u{399}\u{308}\u{301}"),
            ("ﬃ", "FFI"),
            ("ı", "I"),
            ("İ", "İ"),
            ("ς", "Σ"),
            ("ǆ", "Ǆ"),
            ("日本", "日本"),
            ("ა", "Ა"),
        ];
        for (text, upper) in cases {
            assert_eq!(ServiceName::new(text).unwrap().as_str(), upper, "{text:?}");
        }
    }

    #[test]
    fn the_limit_counts_folded_bytes() {
        assert!(FoldedName::new(&"ß".repeat(127)).is_ok());
        assert!(FoldedName::new(&"ŉ".repeat(85)).is_ok());
        let error = FoldedName::new(&"ŉ".repeat(86)).unwrap_err();
        assert!(error.to_string().contains("258 bytes in upper case"), "{error}");
    }
}
