//! Why bytes are not a value.

/// Bytes that are not a brine value; the fault of the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
#[expect(clippy::exhaustive_structs, reason = "what went wrong and where is all there is")]
pub struct DecodeError {
    /// The kind of the error.
    pub kind: DecodeErrorKind,
    /// Where, in bytes from the start of the input.
    pub offset: usize,
}

/// Why bytes are not a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// An integer's text is not decimal digits with an optional sign.
    #[error("an integer that is not decimal text")]
    BadInt,
    /// A frozenset that does not hold a tuple.
    #[error("a frozenset without a tuple of members")]
    BadSet,
    /// A slice that does not hold a tuple of three.
    #[error("a slice without a tuple of three")]
    BadSlice,
    /// A text that does not hold a bytes value.
    #[error("a text without bytes")]
    BadText,
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    BadUtf8,
    /// Longer than [`Limits::int_digits`](crate::Limits::int_digits).
    #[error("an integer of too many digits")]
    IntTooLong,
    /// Deeper than [`Limits::depth`](crate::Limits::depth).
    #[error("values nested too deeply")]
    TooDeep,
    /// Longer than [`Limits::bytes`](crate::Limits::bytes).
    #[error("a message that is too long")]
    TooLong,
    /// More values than [`Limits::items`](crate::Limits::items).
    #[error("too many values")]
    TooManyItems,
    /// Bytes follow the value where none may.
    #[error("bytes after the value")]
    TrailingBytes,
    /// A value, but not an answer of a registry.
    #[error("not an answer of a registry")]
    NotAReply,
    /// The input ends inside the value; more bytes might complete it.
    #[error("the input ends inside a value")]
    Truncated,
    /// A tag that no value has.
    #[error("the unknown tag {0:#04x}")]
    UnknownTag(u8),
}
