//! Messages: requests and their answers, as far as they can be read without any context.
//!
//! ```text
//! rpyc 6                                 rpyc 5
//! +------+----------------------+        +---------------------------+
//! | kind | brine of (seq, body) |        | brine of (kind, seq, body)|
//! +------+----------------------+        +---------------------------+
//!    u8
//!
//! with bound threads, either one after
//! +----------------+-------------------+
//! | sender: u64 BE | recipient: u64 BE |
//! +----------------+-------------------+
//! ```
//!
//! | kind | body |
//! |---|---|
//! | 1 request | `(operation, box of the tuple of arguments)` |
//! | 2 reply | a box |
//! | 3 exception | an exception, never boxed |
//!
//! See `docs/wire.md`, *Messages*.

use std::borrow::Cow;

use super::cursor::Cursor;
use super::{Dialect, Version};
use crate::Limits;
use crate::brine::{DecodeError, DecodeErrorKind, EncodeError, Token, Writer};

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the wire's vocabulary is closed")]
pub enum Kind {
    /// Asks for an operation.
    Request = 1,
    /// Answers with a result.
    Reply = 2,
    /// Answers with an exception.
    Exception = 3,
}

impl Kind {
    fn of(code: i64) -> Option<Self> {
        match code {
            1 => Some(Self::Request),
            2 => Some(Self::Reply),
            3 => Some(Self::Exception),
            _ => None,
        }
    }
}

/// The threads between which a message goes, in the dialects with bound threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the wire's vocabulary is closed")]
pub struct Threads {
    /// The sender's.
    pub sender: u64,
    /// The receiver's; 0 leaves the choice to the receiver.
    pub recipient: u64,
}

/// The number that ties an answer to its request.
///
/// RPyC counts from 0, but echoes whatever the other side chose, and so do we.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a number or something else")]
pub enum Seq<'a> {
    /// A number, the usual form.
    Number(i64),
    /// Any other value, as the brine that was sent.
    Other(Cow<'a, [u8]>),
}

impl Seq<'_> {
    pub(super) fn into_owned(self) -> Seq<'static> {
        match self {
            Self::Number(number) => Seq::Number(number),
            Self::Other(brine) => Seq::Other(Cow::Owned(brine.into_owned())),
        }
    }
}

/// One message, whose body is still brine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the wire's vocabulary is closed")]
pub struct Message<'a> {
    /// What it is.
    pub kind: Kind,
    /// The threads that exchange it, in the dialects that name them.
    pub threads: Option<Threads>,
    /// The number of the request.
    pub seq: Seq<'a>,
    /// The brine of the body. [`Message::decode`] has not looked at it.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a payload.
    ///
    /// # Errors
    /// [`MessageError`] if it is not a message of this dialect: the fault of the peer, or of the
    /// caller chose the dialect.
    pub fn decode(
        payload: &'a [u8],
        dialect: Dialect,
        limits: &Limits,
    ) -> Result<Self, MessageError> {
        Self::decode_unhinted(payload, dialect, limits).map_err(|error| {
            match Dialect::detect(payload).filter(|&found| found != dialect) {
                Some(found) => MessageError::OtherDialect { found, expected: dialect },
                None => error,
            }
        })
    }

    fn decode_unhinted(
        payload: &'a [u8],
        dialect: Dialect,
        limits: &Limits,
    ) -> Result<Self, MessageError> {
        let cut = |offset| DecodeError { kind: DecodeErrorKind::Truncated, offset };
        let mut rest = payload;
        let mut threads = None;
        if dialect.bind_threads {
            let (sender, after) = rest.split_first_chunk().ok_or_else(|| cut(payload.len()))?;
            let (recipient, after) = after.split_first_chunk().ok_or_else(|| cut(payload.len()))?;
            threads = Some(Threads {
                sender: u64::from_be_bytes(*sender),
                recipient: u64::from_be_bytes(*recipient),
            });
            rest = after;
        }
        let mut cursor;
        let kind = match dialect.version {
            Version::V6 => {
                let (&code, after) = rest.split_first().ok_or_else(|| cut(payload.len()))?;
                let kind = Kind::of(code.into()).ok_or(MessageError::UnknownKind)?;
                cursor = Cursor::new(after, limits)?;
                let Token::Tuple(2) = cursor.token()? else { return Err(MessageError::Shape) };
                kind
            }
            Version::V5 => {
                cursor = Cursor::new(rest, limits)?;
                let Token::Tuple(3) = cursor.token()? else { return Err(MessageError::Shape) };
                let Token::Int(code) = cursor.token()? else { return Err(MessageError::Shape) };
                code.to_i64().and_then(Kind::of).ok_or(MessageError::UnknownKind)?
            }
        };
        let seq = cursor.seq()?;
        Ok(Self { kind, threads, seq, body: cursor.rest() })
    }

    /// Appends the message to `out`.
    ///
    /// # Errors
    /// Never with the sequence numbers that [`Message::decode`] gives.
    pub fn encode(&self, dialect: Dialect, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        encode_head(dialect, self.threads, self.kind, &self.seq, out)?;
        out.extend_from_slice(self.body);
        Ok(())
    }
}

/// Appends all of a message but its body.
pub(super) fn encode_head(
    dialect: Dialect,
    threads: Option<Threads>,
    kind: Kind,
    seq: &Seq<'_>,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if dialect.bind_threads {
        let Threads { sender, recipient } = threads.unwrap_or(Threads { sender: 0, recipient: 0 });
        out.extend_from_slice(&sender.to_be_bytes());
        out.extend_from_slice(&recipient.to_be_bytes());
    }
    match dialect.version {
        Version::V6 => {
            out.push(kind as u8);
            Writer::new(out).tuple(2)?;
        }
        Version::V5 => {
            Writer::new(out).tuple(3)?.int(kind as i64);
        }
    }
    match seq {
        Seq::Number(number) => {
            Writer::new(out).int(*number);
        }
        Seq::Other(brine) => out.extend_from_slice(brine),
    }
    Ok(())
}

/// Why a payload is not a message; the fault of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Not brine.
    #[error("a message that is not brine: {0}")]
    Decode(#[from] DecodeError),
    /// It could be a message of another dialect.
    #[error("a message of {found} on a connection of {expected}")]
    OtherDialect {
        /// The dialect of the connection.
        expected: Dialect,
        /// The dialect of the message, by its first byte.
        found: Dialect,
    },
    /// Not a tuple of the right length.
    #[error("a message that is not a tuple of its parts")]
    Shape,
    /// A first payload that no dialect begins like.
    #[error("a first message of no known dialect")]
    UnknownDialect,
    /// Neither a request nor a reply nor an exception.
    #[error("a message of an unknown kind")]
    UnknownKind,
}
