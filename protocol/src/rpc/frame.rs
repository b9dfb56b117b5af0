//! Frames: where a message begins and ends in a stream of bytes.
//!
//! ```text
//! 0        4   5                 5+length
//! +--------+---+------- ... -------+------+
//! | length | z | payload           | '\n' |
//! +--------+---+------- ... -------+------+
//!   u32 BE  u8   length bytes        u8
//! ```
//!
//! `length` counts the payload as it stands on the wire. If `z` is not 0, the payload is one zlib
//! stream. The last byte is there for line-buffered transports; readers pass over it without a
//! look. A frame without a payload says nothing and is skipped. See `docs/wire.md`, *Frames*.

use super::zlib::{self, InflateError};

const HEADER_LEN: usize = 5;
const FLUSHER: u8 = b'\n';

/// A buffer that grew beyond this is not kept for the next frame.
const KEPT: usize = 64 << 10;

/// The length of the frame that `bytes` begin with; `None` if they are too few to decide.
#[must_use]
pub fn frame_len(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?);
    // The header, the payload and the flusher.
    Some(HEADER_LEN.saturating_add(usize::try_from(length).ok()?).saturating_add(1))
}

/// Cuts a stream into payloads, whatever the pieces in which it arrives.
///
/// A frame that lies whole in one piece is not copied. One that does not is gathered in a buffer
/// that grows with what has arrived, not with what the header announces.
///
/// ```
/// use rpyc_protocol::rpc::FrameDecoder;
///
/// let mut decoder = FrameDecoder::new(1 << 20, 1 << 20);
/// let mut piece: &[u8] = b"\0\0\0\x02\0hi\n\0\0\0\x05\0th";
/// assert_eq!(decoder.next_payload(&mut piece)?, Some(&b"hi"[..]));
/// assert_eq!(decoder.next_payload(&mut piece)?, None);
/// let mut piece: &[u8] = b"ere\n";
/// assert_eq!(decoder.next_payload(&mut piece)?, Some(&b"there"[..]));
/// # Ok::<(), rpyc_protocol::rpc::FrameError>(())
/// ```
#[derive(Debug)]
pub struct FrameDecoder {
    /// The beginning of a frame that has not arrived whole.
    partial: Vec<u8>,
    /// `partial` was a whole frame, which has been handed out.
    is_spent: bool,
    inflated: Vec<u8>,
    frame_limit: usize,
    payload_limit: usize,
}

/// Where the payload just found lies.
enum Payload<'i> {
    Input(&'i [u8]),
    Partial,
    Inflated,
}

impl FrameDecoder {
    /// Accepts payloads of at most `frame_limit` bytes on the wire and `payload_limit` bytes when
    /// inflated.
    #[must_use]
    pub fn new(frame_limit: usize, payload_limit: usize) -> Self {
        Self {
            partial: Vec::new(),
            is_spent: false,
            inflated: Vec::new(),
            frame_limit,
            payload_limit,
        }
    }

    /// Takes bytes from the front of `input` until a payload is whole.
    ///
    /// `None` means that all of `input` was taken and more is needed.
    ///
    /// # Errors
    /// [`FrameError`] as soon as the stream cannot become a frame within the limits: the fault of
    /// the peer. The next frame after that cannot be found.
    pub fn next_payload<'s, 'i: 's>(
        &'s mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<&'s [u8]>, FrameError> {
        let place = loop {
            match self.advance(input)? {
                None => return Ok(None),
                Some(Payload::Input([])) => {}
                Some(Payload::Partial) if self.partial.len() == HEADER_LEN + 1 => {}
                Some(Payload::Inflated) if self.inflated.is_empty() => {}
                Some(place) => break place,
            }
        };
        Ok(Some(match place {
            Payload::Input(payload) => payload,
            Payload::Partial => payload_of(&self.partial),
            Payload::Inflated => &self.inflated,
        }))
    }

    /// Whether part of a frame has arrived and the rest is awaited.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.partial_len() > 0
    }

    /// How many bytes have arrived of a frame whose rest is awaited, its header included.
    #[must_use]
    pub fn partial_len(&self) -> usize {
        if self.is_spent { 0 } else { self.partial.len() }
    }

    /// How many bytes of memory the beginning of a frame takes whose rest is awaited.
    #[must_use]
    pub fn partial_size(&self) -> usize {
        if self.is_partial() { self.partial.capacity() } else { 0 }
    }

    /// Drops the beginning of a frame, for a stream that is no longer read.
    pub fn abandon(&mut self) {
        self.partial = Vec::new();
        self.is_spent = false;
        self.inflated = Vec::new();
    }

    fn advance<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Payload<'i>>, FrameError> {
        if self.is_spent {
            self.is_spent = false;
            clear(&mut self.partial);
        }
        clear(&mut self.inflated);
        if self.partial.is_empty()
            && let Some(header) = input.first_chunk()
        {
            let header = self.read_header(*header)?;
            if let Some((frame, rest)) = input.split_at_checked(header.frame_len) {
                *input = rest;
                let payload = payload_of(frame);
                if header.is_compressed {
                    self.inflate(payload)?;
                    return Ok(Some(Payload::Inflated));
                }
                return Ok(Some(Payload::Input(payload)));
            }
        }
        if !self.fill(input, HEADER_LEN) {
            return Ok(None);
        }
        let Some(header) = self.partial.first_chunk() else { return Ok(None) };
        let header = self.read_header(*header)?;
        if !self.fill(input, header.frame_len) {
            return Ok(None);
        }
        self.is_spent = true;
        if !header.is_compressed {
            return Ok(Some(Payload::Partial));
        }
        let frame = std::mem::take(&mut self.partial);
        self.inflate(payload_of(&frame))?;
        self.partial = frame;
        Ok(Some(Payload::Inflated))
    }

    /// Takes from `input` until `partial` has `len` bytes; returns whether it has.
    fn fill(&mut self, input: &mut &[u8], len: usize) -> bool {
        let missing = len.saturating_sub(self.partial.len());
        let (piece, rest) = input.split_at(missing.min(input.len()));
        *input = rest;
        let needed = self.partial.len() + piece.len();
        if needed > self.partial.capacity() {
            let doubled = self.partial.capacity().saturating_mul(2).max(64);
            let capacity = doubled.min(len).max(needed);
            self.partial.reserve_exact(capacity - self.partial.len());
        }
        self.partial.extend_from_slice(piece);
        self.partial.len() >= len
    }

    fn read_header(&self, header: [u8; HEADER_LEN]) -> Result<Header, FrameError> {
        let [a, b, c, d, compressed] = header;
        let len = u32::from_be_bytes([a, b, c, d]);
        let is_compressed = compressed != 0;
        let limit = match is_compressed {
            true => self.frame_limit,
            false => self.frame_limit.min(self.payload_limit),
        };
        match usize::try_from(len) {
            Ok(fits) if fits <= limit => Ok(Header {
                frame_len: HEADER_LEN.saturating_add(fits).saturating_add(1),
                is_compressed,
            }),
            _ => Err(FrameError::TooLong { len, limit }),
        }
    }

    fn inflate(&mut self, payload: &[u8]) -> Result<(), FrameError> {
        zlib::inflate(payload, self.payload_limit, &mut self.inflated).map_err(
            |error| match error {
                InflateError::Malformed => FrameError::BadZlib,
                InflateError::TooLong => FrameError::InflatedTooLong { limit: self.payload_limit },
            },
        )
    }
}

struct Header {
    frame_len: usize,
    is_compressed: bool,
}

fn payload_of(frame: &[u8]) -> &[u8] {
    frame.get(HEADER_LEN..frame.len().saturating_sub(1)).unwrap_or_default()
}

fn clear(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT {
        *buffer = Vec::new();
    }
    buffer.clear();
}

/// Why a stream of bytes is not made of frames; the fault of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A payload that is marked as compressed is not one whole zlib stream.
    #[error("a compressed frame that is not a zlib stream")]
    BadZlib,
    /// A compressed payload is longer than the limit when inflated.
    #[error("a compressed frame of more than {limit} bytes")]
    InflatedTooLong {
        /// The limit.
        limit: usize,
    },
    /// The header announces a payload that is longer than the limit; also what other protocols
    /// look like (`GET ` is 1,195,725,856).
    #[error("a frame of {len} bytes, over the limit of {limit}")]
    TooLong {
        /// The announced length.
        len: u32,
        /// The limit.
        limit: usize,
    },
}

/// Appends one frame to `out`, whose payload is what `write` appends.
///
/// A payload of more than `compress_above` bytes is compressed if that makes it shorter. RPyC
/// compresses above 3000 bytes. `write` gets all of `out` and must only append to it; if it fails,
/// `out` is as before.
///
/// # Errors
/// The error of `write`, or [`PayloadTooLong`] if the payload is longer than `limit` before
/// compression or 4 GiB.
pub fn encode_frame<E: From<PayloadTooLong>>(
    out: &mut Vec<u8>,
    compress_above: Option<usize>,
    limit: usize,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    let payload_start = start + HEADER_LEN;
    out.extend_from_slice(&[0; HEADER_LEN]);
    let written = write(out).and_then(|()| {
        let len = out.len() - payload_start;
        if len > limit || u32::try_from(len).is_err() {
            return Err(PayloadTooLong { len, limit }.into());
        }
        Ok(len)
    });
    let plain_len = match written {
        Ok(len) => len,
        Err(error) => {
            out.truncate(start);
            return Err(error);
        }
    };
    let is_compressed = compress_above.is_some_and(|threshold| plain_len > threshold)
        && zlib::deflate_tail(out, payload_start);
    // It fits: it was checked when it was plain, and compression only shortens.
    let [a, b, c, d] = u32::try_from(out.len() - payload_start).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(header) = out.get_mut(start..payload_start) {
        header.copy_from_slice(&[a, b, c, d, u8::from(is_compressed)]);
    }
    out.push(FLUSHER);
    Ok(())
}

/// A payload that is too long to send; nothing has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {len} bytes, over the limit of {limit}")]
#[non_exhaustive]
pub struct PayloadTooLong {
    /// Its length.
    pub len: usize,
    /// The limit.
    pub limit: usize,
}
