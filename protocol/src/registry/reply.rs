//! The legacy face's replies.
//!
//! A reply does not say what it answers (`()` is both "no server" and "no names"), so there is one
//! function for each verb. [`Entries`] builds a tuple that stays within a number of bytes.

use super::Port;
use crate::Limits;
use crate::brine::{DecodeError, DecodeErrorKind, EncodeError, Token, Tokens, Writer};

/// Where a server can be reached, as a registry returns it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "host and port are all there is")]
pub struct Endpoint {
    /// An address as text; a link-local IPv6 address may carry a `%zone`.
    pub host: String,
    /// The port, or the path of a unix socket.
    pub port: Port,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The answer to REGISTER and UNREGISTER: the text `OK`.
pub const ACKNOWLEDGEMENT: &[u8] = b"\x08\x0b\x4f\x4b";

/// The answer to LIST where listing is forbidden: `None`.
pub const FORBIDDEN: &[u8] = b"\x00";

/// Whether `bytes` acknowledge a REGISTER or UNREGISTER.
#[must_use]
pub fn is_acknowledgement(bytes: &[u8]) -> bool {
    bytes == ACKNOWLEDGEMENT
}

/// Reads the answer to QUERY.
///
/// # Errors
/// [`DecodeError`] if it is none, the fault of the responder. Entries with a port that is none
/// (RPyC's registry stores any value) are left out rather than spoiling the others.
pub fn decode_endpoints(bytes: &[u8]) -> Result<Vec<Endpoint>, DecodeError> {
    let mut tokens = Tokens::new(bytes, &Limits::REPLY)?;
    let Token::Tuple(len) = tokens.next_token()? else { return Err(not_a_reply(0)) };
    let mut endpoints = Vec::new();
    for _ in 0..len {
        let offset = tokens.offset();
        let Token::Tuple(2) = tokens.next_token()? else { return Err(not_a_reply(offset)) };
        let Token::Str(host) = tokens.next_token()? else { return Err(not_a_reply(offset)) };
        let mut past_port = tokens.clone();
        past_port.skip(1)?;
        if let Ok(port) = Port::from_token(tokens.next_token()?) {
            endpoints.push(Endpoint { host: host.to_owned(), port });
        }
        tokens = past_port;
    }
    Ok(endpoints)
}

/// Reads the answer to LIST; `None` if the registry forbids listing.
///
/// # Errors
/// [`DecodeError`] if it is none, the fault of the responder.
pub fn decode_names(bytes: &[u8]) -> Result<Option<Vec<String>>, DecodeError> {
    let mut tokens = Tokens::new(bytes, &Limits::REPLY)?;
    let len = match tokens.next_token()? {
        Token::None => return Ok(None),
        Token::Tuple(len) => len,
        _ => return Err(not_a_reply(0)),
    };
    let mut names = Vec::new();
    for _ in 0..len {
        let offset = tokens.offset();
        let Token::Str(name) = tokens.next_token()? else { return Err(not_a_reply(offset)) };
        names.push(name.to_owned());
    }
    Ok(Some(names))
}

fn not_a_reply(offset: usize) -> DecodeError {
    DecodeError { kind: DecodeErrorKind::NotAReply, offset }
}

/// Appends an entry of an answer to QUERY, `(host, port)`, as brine.
///
/// # Errors
/// [`EncodeError`] if `host` is longer than brine can say.
pub fn encode_entry(out: &mut Vec<u8>, host: &str, port: &Port) -> Result<(), EncodeError> {
    let mut out = Writer::new(out);
    out.tuple(2)?.str(host)?;
    port.encode(&mut out)
}

/// The longest entry that a [`SmallEntry`] holds: an IPv4 address with any port takes 26 bytes.
const SMALL_ENTRY: usize = 30;

/// An encoded entry of an answer to QUERY, held inline: encoded once instead of in every answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmallEntry {
    len: u8,
    bytes: [u8; SMALL_ENTRY],
}

impl SmallEntry {
    /// Encodes `(host, port)`; `None` if that takes more than 30 bytes.
    #[must_use]
    pub fn new(host: &str, port: &Port) -> Option<Self> {
        let mut entry = Vec::new();
        encode_entry(&mut entry, host, port).ok()?;
        let mut bytes = [0; SMALL_ENTRY];
        bytes.get_mut(..entry.len())?.copy_from_slice(&entry);
        Some(Self { len: u8::try_from(entry.len()).ok()?, bytes })
    }

    /// The entry as brine, for [`Entries::push`].
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// A tuple of whole entries that stays within a number of bytes.
///
/// RPyC's clients read at most 1500 bytes of an answer (15,000 of a LIST over UDP) and fail on a
/// cut one, or take a cut port for a whole one. So entries are added while they fit.
///
/// ```
/// use rpyc_protocol::registry::reply::Entries;
///
/// let mut buffer = Vec::new();
/// let mut entries = Entries::new(&mut buffer, 8);
/// assert!(entries.push(b"\x08\x0aA"));
/// assert!(entries.push(b"\x08\x0aB"));
/// assert!(!entries.push(b"\x08\x0aC") && entries.is_cut());
/// assert_eq!(entries.finish()?, b"\x11\x08\x0aA\x08\x0aB");
/// # Ok::<(), rpyc_protocol::brine::EncodeError>(())
/// ```
#[derive(Debug)]
pub struct Entries<'a> {
    buffer: &'a mut Vec<u8>,
    len: usize,
    cap: usize,
    is_cut: bool,
}

impl<'a> Entries<'a> {
    /// The longest head of a tuple. It is written last, when the count is known, into the room kept
    /// before the entries.
    const HEAD_ROOM: usize = 5;

    /// Starts an empty tuple of at most `cap` bytes, using (and emptying) `buffer`.
    pub fn new(buffer: &'a mut Vec<u8>, cap: usize) -> Self {
        buffer.clear();
        buffer.extend([0; Self::HEAD_ROOM]);
        Self { buffer, len: 0, cap, is_cut: false }
    }

    /// Adds an entry that is already brine, unless it does not fit; returns whether it fit.
    pub fn push(&mut self, entry: &[u8]) -> bool {
        self.push_sparing(0, entry)
    }

    /// Like [`Entries::push`], but leaves `spare` bytes for later entries.
    pub fn push_sparing(&mut self, spare: usize, entry: &[u8]) -> bool {
        let body = self.buffer.len() - Self::HEAD_ROOM + entry.len();
        let fits = head_len(self.len + 1) + body + spare <= self.cap;
        if fits {
            self.buffer.extend(entry);
            self.len += 1;
        } else {
            self.is_cut = true;
        }
        fits
    }

    /// Starts over.
    pub fn clear(&mut self) {
        self.buffer.truncate(Self::HEAD_ROOM);
        self.len = 0;
        self.is_cut = false;
    }

    /// Whether an entry did not fit.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes of the tuple.
    ///
    /// # Errors
    /// [`EncodeError`] for 2³² entries.
    pub fn finish(self) -> Result<&'a [u8], EncodeError> {
        // The head is written behind the entries, so that nothing is allocated, and moved before
        // them.
        let end = self.buffer.len();
        Writer::new(self.buffer).tuple(self.len)?;
        let start = Self::HEAD_ROOM - (self.buffer.len() - end);
        self.buffer.copy_within(end.., start);
        self.buffer.truncate(end);
        Ok(self.buffer.get(start..).unwrap_or_default())
    }
}

fn head_len(members: usize) -> usize {
    match members {
        0..=4 => 1,
        5..=255 => 2,
        _ => 5,
    }
}
