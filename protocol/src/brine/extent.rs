//! Where a value ends in a stream that arrives in pieces.

use super::{DecodeError, DecodeErrorKind, tag};
use crate::Limits;

/// Finds the end of one value, fed piece by piece, looking at every byte once.
///
/// The registry protocol puts no length before a request on TCP, so the reader must know when it
/// has a whole one. Decoding again from the start with every piece would cost the square of the
/// length; this costs the length, whatever the pieces.
///
/// It knows lengths only: bytes that it calls complete may still fail to [`decode`](super::decode).
///
/// ```
/// use rpyc_protocol::{Limits, brine::Extent};
///
/// let mut extent = Extent::new(&Limits::REQUEST);
/// assert_eq!(extent.feed(b"\x11\x08\x0cFO")?, None);
/// assert_eq!(extent.feed(b"O\x50 and more")?, Some(7));
/// # Ok::<(), rpyc_protocol::brine::DecodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Extent {
    /// Values still to come.
    pending: usize,
    /// Payload bytes of the current value still to come.
    payload: usize,
    /// A length that is being read.
    length: Option<Length>,
    consumed: usize,
    items_left: usize,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Length {
    of: Counted,
    bytes_left: u8,
    so_far: usize,
}

#[derive(Clone, Copy, Debug)]
enum Counted {
    Bytes,
    Members,
}

impl Extent {
    /// Waits for the first byte of a value.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            pending: 1,
            payload: 0,
            length: None,
            consumed: 0,
            items_left: limits.items,
            bytes: limits.bytes,
        }
    }

    /// Takes the next piece; gives the length of the value, counted from its first byte, once all
    /// of it has been fed.
    ///
    /// # Errors
    /// [`DecodeError`] as soon as the bytes cannot become a value within the limits; feeding on is
    /// pointless then.
    pub fn feed(&mut self, piece: &[u8]) -> Result<Option<usize>, DecodeError> {
        let mut piece = piece;
        while !self.is_complete() {
            let step = self.payload.min(piece.len());
            if step > 0 {
                self.payload -= step;
                self.consumed += step;
                piece = piece.get(step..).unwrap_or_default();
                continue;
            }
            let Some((&byte, rest)) = piece.split_first() else { return Ok(None) };
            piece = rest;
            match self.length.take() {
                Some(length) => self.on_length(length, byte)?,
                None => self.on_tag(byte)?,
            }
            self.consumed += 1;
        }
        Ok(Some(self.consumed))
    }

    fn is_complete(&self) -> bool {
        self.pending == 0 && self.payload == 0 && self.length.is_none()
    }

    fn on_tag(&mut self, byte: u8) -> Result<(), DecodeError> {
        self.items_left = self
            .items_left
            .checked_sub(1)
            .ok_or_else(|| self.error(DecodeErrorKind::TooManyItems))?;
        self.pending -= 1;
        let length = |of, bytes_left| Some(Length { of, bytes_left, so_far: 0 });
        match byte {
            tag::NONE..=tag::ELLIPSIS | tag::IMMEDIATE_FIRST..=tag::IMMEDIATE_LAST => {}
            tag::STR | tag::SLICE | tag::FROZENSET => self.pending += 1,
            tag::BYTES_1..=tag::BYTES_4 => {
                self.expect_payload(usize::from(byte - tag::BYTES_1) + 1)?;
            }
            tag::TUPLE_1..=tag::TUPLE_4 => self.pending += usize::from(byte - tag::TUPLE_1) + 1,
            tag::BYTES_L1 | tag::INT_L1 => self.length = length(Counted::Bytes, 1),
            tag::BYTES_L4 | tag::INT_L4 => self.length = length(Counted::Bytes, 4),
            tag::TUPLE_L1 => self.length = length(Counted::Members, 1),
            tag::TUPLE_L4 => self.length = length(Counted::Members, 4),
            tag::FLOAT => self.expect_payload(8)?,
            tag::COMPLEX => self.expect_payload(16)?,
            other => return Err(self.error(DecodeErrorKind::UnknownTag(other))),
        }
        self.check_room(0)
    }

    fn on_length(&mut self, length: Length, byte: u8) -> Result<(), DecodeError> {
        let so_far = length.so_far << 8 | usize::from(byte);
        match (length.bytes_left - 1, length.of) {
            (0, Counted::Bytes) => self.expect_payload(so_far),
            (0, Counted::Members) => {
                self.pending = self.pending.saturating_add(so_far);
                self.check_room(0)
            }
            (bytes_left, of) => {
                self.length = Some(Length { of, bytes_left, so_far });
                Ok(())
            }
        }
    }

    fn expect_payload(&mut self, len: usize) -> Result<(), DecodeError> {
        self.payload = len;
        self.check_room(len)
    }

    /// Every value to come takes at least a byte: a value that cannot fit is refused now, not
    /// buffered.
    fn check_room(&self, payload: usize) -> Result<(), DecodeError> {
        let with_this_byte = self.consumed + 1;
        if with_this_byte.saturating_add(payload).saturating_add(self.pending) > self.bytes {
            return Err(self.error(DecodeErrorKind::TooLong));
        }
        Ok(())
    }

    fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError { kind, offset: self.consumed }
    }
}
