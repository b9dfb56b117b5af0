//! Where on its host a server listens.

use std::fmt;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::brine::{DecodeError, Token, Writer};

/// Where on its host a server listens: a TCP port or the path of a unix socket.
///
/// RPyC's servers on a unix socket register its path in the place of the port.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
#[expect(clippy::exhaustive_enums, reason = "the wire's vocabulary is closed")]
pub enum Port {
    /// A TCP port.
    Tcp(NonZeroU16),
    /// The path of a unix socket on the server's own machine.
    Path(Box<str>),
}

impl Port {
    /// Longest path in bytes. Systems allow about 108.
    pub const MAX_PATH_BYTES: usize = 255;

    /// A TCP port.
    ///
    /// # Errors
    /// [`PortError::Zero`] for 0, to which nothing can connect.
    pub fn tcp(port: u16) -> Result<Self, PortError> {
        NonZeroU16::new(port).map(Self::Tcp).ok_or(PortError::Zero)
    }

    /// The path of a unix socket.
    ///
    /// # Errors
    /// [`PortError`] if it is empty or longer than [`Port::MAX_PATH_BYTES`].
    pub fn path(path: &str) -> Result<Self, PortError> {
        match path.len() {
            0 => Err(PortError::EmptyPath),
            1..=Self::MAX_PATH_BYTES => Ok(Self::Path(path.into())),
            bytes => Err(PortError::LongPath { bytes }),
        }
    }

    /// The TCP port, if it is one.
    #[must_use]
    pub fn to_tcp(&self) -> Option<u16> {
        match self {
            Self::Tcp(port) => Some(port.get()),
            Self::Path(_) => None,
        }
    }

    pub(super) fn from_token(token: Token<'_>) -> Result<Self, PortError> {
        match token {
            Token::Int(int) => match int.to_i64().map(u16::try_from) {
                Some(Ok(port)) => Self::tcp(port),
                Some(Err(_)) | None => Err(PortError::OutOfRange),
            },
            Token::Str(path) => Self::path(path),
            _ => Err(PortError::WrongType),
        }
    }

    /// Appends the port as brine.
    ///
    /// # Errors
    /// [`EncodeError`](crate::brine::EncodeError) for a path of 4 GiB, which no constructor makes.
    pub fn encode(&self, out: &mut Writer<'_>) -> Result<(), crate::brine::EncodeError> {
        match self {
            Self::Tcp(port) => out.int(i64::from(port.get())),
            Self::Path(path) => out.str(path)?,
        };
        Ok(())
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => port.fmt(f),
            Self::Path(path) => path.fmt(f),
        }
    }
}

/// A number, or a path with everything that is not printable escaped.
impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => fmt::Display::fmt(port, f),
            Self::Path(path) => fmt::Debug::fmt(path, f),
        }
    }
}

/// An invalid port; the fault of its sender or author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// The bytes are not a value.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The path of a unix socket is empty.
    #[error("the path of the unix socket is empty")]
    EmptyPath,
    /// The path of a unix socket is too long.
    #[error("the path of the unix socket has {bytes} bytes; at most {max} are allowed", max = Port::MAX_PATH_BYTES)]
    LongPath {
        /// Its length.
        bytes: usize,
    },
    /// The number is not a port.
    #[error("the port is not between 1 and 65535")]
    OutOfRange,
    /// Neither a number nor text.
    #[error("the port is neither a number nor the path of a unix socket")]
    WrongType,
    /// Port 0, to which nothing can connect.
    #[error("the port is 0, to which nothing can connect")]
    Zero,
}
