//! Errors in a well-formed message, and the exceptions by which the peer learns of them.

use super::{Exception, Op};
use crate::brine::{DecodeError, DecodeErrorKind, Value};

/// Why a well-formed message makes no sense; the fault of the peer. The connection lives on.
///
/// A request is answered with the exception that rpyc would raise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The wrong number of arguments.
    #[error("{op} does not take {given} arguments")]
    Arity {
        /// The operation.
        op: Op,
        /// How many arguments came.
        given: usize,
    },
    /// A comparison that is none of the six.
    #[error("cannot access '{0}'")]
    BadComparison(String),
    /// An exception that is not made of class, arguments, attributes and traceback.
    #[error("an exception of the wrong shape")]
    BadException,
    /// The keyword arguments are not pairs of a text and a value.
    #[error("keywords must be strings")]
    BadKeywords,
    /// A count or another number that is none, or is negative.
    #[error("{op} needs a number that is not negative")]
    BadNumber {
        /// The operation.
        op: Op,
    },
    /// The wrong number of members in a tuple that has a fixed one.
    #[error("expected a tuple of {expected}, found one of {given}")]
    Count {
        /// How many there should be.
        expected: usize,
        /// How many there are.
        given: usize,
    },
    /// A box with a label that is none of the four.
    #[error("invalid label {0}")]
    Label(i64),
    /// A box whose label is not a number.
    #[error("a label that is not a number")]
    LabelType,
    /// The name of an attribute is not text.
    #[error("name must be a string")]
    NameType,
    /// Something else in the place of an object of the receiver's.
    #[error("{op} needs an object of the receiver's")]
    NotAnObject {
        /// The operation.
        op: Op,
    },
    /// Something else in the place of a tuple.
    #[error("cannot unpack non-iterable {found} object")]
    NotATuple {
        /// The Python name of its type.
        found: &'static str,
    },
    /// Over one of the [`Limits`](crate::Limits) on the values of one message.
    #[error("{0}")]
    OverLimit(DecodeErrorKind),
    /// More than [`SessionLimits::requests`](super::SessionLimits::requests) or
    /// [`SessionLimits::request_bytes`](super::SessionLimits::request_bytes) at a time.
    #[error("too many requests at a time")]
    TooManyRequests,
    /// An object that the receiver does not offer (any more).
    #[error("no such object")]
    UnknownObject {
        /// The id pack.
        id: Value,
    },
    /// An operation that does not exist.
    #[error("no such operation")]
    UnknownOp {
        /// What stands in the place of its number.
        op: Value,
    },
}

impl Refusal {
    /// The exception for the peer.
    pub(super) fn into_exception(self) -> Exception {
        let name = match self {
            Self::UnknownObject { id: key } | Self::UnknownOp { op: key } => {
                return Exception::builtin("KeyError", key);
            }
            Self::BadComparison(_) => "AttributeError",
            Self::Count { .. } | Self::Label(_) | Self::LabelType | Self::OverLimit(_) => {
                "ValueError"
            }
            Self::TooManyRequests => "RuntimeError",
            Self::Arity { .. }
            | Self::BadException
            | Self::BadKeywords
            | Self::BadNumber { .. }
            | Self::NameType
            | Self::NotAnObject { .. }
            | Self::NotATuple { .. } => "TypeError",
        };
        Exception::builtin(name, self.to_string())
    }

    pub(super) fn not_a_tuple(value: &Value) -> Self {
        Self::NotATuple { found: type_name(value) }
    }
}

/// What went wrong with the body of a message.
#[derive(Debug)]
pub(super) enum ReadError {
    /// It is not brine: the connection ends.
    Malformed(DecodeError),
    /// It makes no sense: the connection lives on.
    Refused(Refusal),
}

impl From<Refusal> for ReadError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<DecodeError> for ReadError {
    fn from(error: DecodeError) -> Self {
        match error.kind {
            // A value that is merely too big may be an honest one; the frame shows where it ends.
            DecodeErrorKind::IntTooLong
            | DecodeErrorKind::TooDeep
            | DecodeErrorKind::TooManyItems => Self::Refused(Refusal::OverLimit(error.kind)),
            _ => Self::Malformed(error),
        }
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::None => "NoneType",
        Value::Bool(_) => "bool",
        Value::NotImplemented => "NotImplementedType",
        Value::Ellipsis => "ellipsis",
        Value::Int(_) => "int",
        Value::Float(_) => "float",
        Value::Complex(..) => "complex",
        Value::Bytes(_) => "bytes",
        Value::Str(_) => "str",
        Value::Tuple(_) => "tuple",
        Value::FrozenSet(_) => "frozenset",
        Value::Slice(_) => "slice",
    }
}
