//! Why a parcel is not what it should be.

use std::fmt;

use serde::de::{Expected, Unexpected};

/// Why something could not be made a [`Parcel`](crate::Parcel), or a parcel something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvertError(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// An object of the peer's stands where its content is needed.
    ByReference { class: String },
    /// A number does not fit.
    Overflow(String),
    /// From serde, from a type of the caller's, or from here.
    Message(String),
}

impl ConvertError {
    pub(crate) fn by_reference(class: &str) -> Self {
        Self(Kind::ByReference { class: class.to_owned() })
    }

    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(Kind::Message(message.into()))
    }

    pub(crate) fn overflow(message: impl Into<String>) -> Self {
        Self(Kind::Overflow(message.into()))
    }

    /// Whether a number is too large or too small for its type; to Python, an `OverflowError` and
    /// no `TypeError`.
    #[must_use]
    pub fn is_overflow(&self) -> bool {
        matches!(self.0, Kind::Overflow(_))
    }

    /// Whether an object of the peer's stands where its content is needed.
    #[must_use]
    pub fn is_by_reference(&self) -> bool {
        matches!(self.0, Kind::ByReference { .. })
    }
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::ByReference { class } => {
                write!(f, "a reference to a {class} where its content is needed")
            }
            Kind::Message(message) | Kind::Overflow(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for ConvertError {}

impl serde::ser::Error for ConvertError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}

impl serde::de::Error for ConvertError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    /// In Python's words, as Python's programs read them.
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "bool",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "int",
            Unexpected::Float(_) => "float",
            Unexpected::Char(_) | Unexpected::Str(_) => "str",
            Unexpected::Bytes(_) => "bytes",
            Unexpected::Unit | Unexpected::Option => "None",
            Unexpected::Seq => "a sequence",
            Unexpected::Map => "a dict",
            Unexpected::Other(found) => found,
            _ => "something else",
        };
        Self::new(format!("expected {expected}, not {found}"))
    }
}
