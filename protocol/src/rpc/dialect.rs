//! The dialects of the protocol, which do not understand each other, and how to distinguish them.

use std::fmt;
use std::str::FromStr;

/// Which form of the protocol a connection speaks.
///
/// RPyC negotiates nothing: the connecting side must know the dialect, or try. A server hears the
/// other side first and can distinguish them by the first byte of the first payload:
///
/// | first byte | dialect | payload |
/// |---|---|---|
/// | `01` `02` `03` | [`Dialect::V6`] | `kind: u8`, then brine of `(seq, body)` |
/// | `12` | [`Dialect::V5`] | brine of `(kind, seq, body)` |
/// | `00` | either, with bound threads | `sender: u64`, `recipient: u64`, then the above |
///
/// Framing, values, boxes and operations are the same in all of them. No payload is valid in two of
/// them, so a client that does not know the dialect can only try one.
///
/// Its text is `5` or `6`, with `-bind-threads` behind it for bound threads.
///
/// ```
/// use rpyc_protocol::rpc::Dialect;
///
/// assert_eq!(Dialect::detect(b"\x01\x11\x50\x11\x53\x11\x51\x02"), Some(Dialect::V6));
/// assert_eq!(Dialect::detect(b"\x12\x51\x50\x11\x53\x11\x51\x02"), Some(Dialect::V5));
/// assert_eq!(Dialect::detect(b"GET / HTTP/1.1"), None);
/// assert_eq!("5".parse(), Ok(Dialect::V5));
/// assert_eq!("6-bind-threads".parse(), Ok(Dialect::V6.with_bind_threads()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "the wire's vocabulary is closed")]
pub struct Dialect {
    /// How a message is laid out.
    pub version: Version,
    /// Whether every payload begins with the ids of the threads that talk to each other, as rpyc
    /// does with `bind_threads`.
    pub bind_threads: bool,
}

/// How a message is laid out, named after the major version of rpyc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the wire's vocabulary is closed")]
pub enum Version {
    /// rpyc 4.1.0 to 5.3.1.
    V5,
    /// rpyc 6.
    V6,
}

impl Dialect {
    /// rpyc 4.1.0 to 5.3.1.
    pub const V5: Self = Self { version: Version::V5, bind_threads: false };

    /// rpyc 6, the current one.
    pub const V6: Self = Self { version: Version::V6, bind_threads: false };

    /// The text of the dialect, which can be parsed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match (self.version, self.bind_threads) {
            (version, false) => version.as_str(),
            (Version::V5, true) => "5-bind-threads",
            (Version::V6, true) => "6-bind-threads",
        }
    }

    /// The length of what bound threads put before a payload.
    pub(super) const THREADS_LEN: usize = 16;

    /// The same with bound threads.
    #[must_use]
    pub const fn with_bind_threads(self) -> Self {
        Self { bind_threads: true, ..self }
    }

    /// Returns the dialect of the first payload that the peer sent.
    ///
    /// Thread ids of real systems fit 56 bits, so a payload with bound threads begins with `00`.
    #[must_use]
    pub fn detect(payload: &[u8]) -> Option<Self> {
        match payload.first()? {
            0x00 => {
                let version = Version::of(*payload.get(Self::THREADS_LEN)?)?;
                Some(Self { version, bind_threads: true })
            }
            &first => Some(Self { version: Version::of(first)?, bind_threads: false }),
        }
    }
}

impl Version {
    /// The version of rpyc that this dialect is checked against, for the version in an exception.
    ///
    /// A Python peer appends a warning to every exception whose major version is not its own.
    #[must_use]
    pub const fn reference(self) -> &'static str {
        match self {
            Self::V5 => "5.3.1",
            Self::V6 => "6.0.2",
        }
    }

    /// The major version of rpyc: `5` or `6`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V5 => "5",
            Self::V6 => "6",
        }
    }

    fn of(first: u8) -> Option<Self> {
        match first {
            0x01..=0x03 => Some(Self::V6),
            0x12 => Some(Self::V5),
            _ => None,
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rpyc {}", self.version.as_str())?;
        if self.bind_threads { f.write_str(" with bound threads") } else { Ok(()) }
    }
}

/// A text names no dialect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a dialect of RPyC: write 5 or 6, with -bind-threads for bound threads")]
pub struct DialectError(Box<str>);

impl FromStr for Dialect {
    type Err = DialectError;

    fn from_str(text: &str) -> Result<Self, DialectError> {
        let bare = text.strip_suffix("-bind-threads");
        let version = match bare.unwrap_or(text) {
            "5" => Version::V5,
            "6" => Version::V6,
            _ => return Err(DialectError(text.into())),
        };
        Ok(Self { version, bind_threads: bare.is_some() })
    }
}
