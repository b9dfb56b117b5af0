//! Walking brine bytes one value head at a time, without allocating.

use super::{DecodeError, DecodeErrorKind, Int, tag};
use crate::Limits;
use crate::reader::{Exhausted, Reader};

/// The head of one value: the whole of a plain one, the member count of a container.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the wire's vocabulary is closed")]
pub enum Token<'a> {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// `NotImplemented`.
    NotImplemented,
    /// `Ellipsis`.
    Ellipsis,
    /// An integer.
    Int(IntToken<'a>),
    /// A float.
    Float(f64),
    /// A complex number: real and imaginary part.
    Complex(f64, f64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Text.
    Str(&'a str),
    /// A tuple; this many values follow as its members.
    Tuple(usize),
    /// A frozenset; this many values follow as its members.
    FrozenSet(usize),
    /// A slice; three values follow: start, stop, step.
    Slice,
}

/// An integer that has not been converted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntToken<'a>(IntRepr<'a>);

// Invariant: `Text` is an optional sign and at least one ASCII digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IntRepr<'a> {
    Immediate(i64),
    Text(&'a str),
}

impl IntToken<'_> {
    /// The value, if it fits.
    #[must_use]
    pub fn to_i64(self) -> Option<i64> {
        match self.0 {
            IntRepr::Immediate(value) => Some(value),
            IntRepr::Text(text) => text.parse().ok(),
        }
    }

    /// The value, whatever its size.
    pub(super) fn to_int(self) -> Option<Int> {
        match self.0 {
            IntRepr::Immediate(value) => Some(Int::from(value)),
            IntRepr::Text(text) => Int::from_decimal(text),
        }
    }
}

/// A forward walk over the values in a byte slice.
///
/// Total and bounded: any input gives tokens or an error, nothing is allocated, and
/// [`Limits::bytes`], [`Limits::items`] and [`Limits::int_digits`] are obeyed. Depth costs nothing
/// here; a caller that recurses over the tokens bounds it.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    reader: Reader<'a>,
    items_left: usize,
    int_digits: usize,
}

impl<'a> Tokens<'a> {
    /// Starts at the front of `bytes`.
    ///
    /// # Errors
    /// [`DecodeErrorKind::TooLong`] if `bytes` is longer than the limit.
    pub fn new(bytes: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        if bytes.len() > limits.bytes {
            return Err(DecodeError { kind: DecodeErrorKind::TooLong, offset: limits.bytes });
        }
        Ok(Self {
            reader: Reader::new(bytes),
            items_left: limits.items,
            int_digits: limits.int_digits,
        })
    }

    /// How many more values may be read.
    pub(crate) fn items_left(&self) -> usize {
        self.items_left
    }

    /// How many bytes have been read.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.reader.offset()
    }

    /// Reads the head of the next value.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not a value; the walk cannot go on after it.
    pub fn next_token(&mut self) -> Result<Token<'a>, DecodeError> {
        let offset = self.offset();
        let at = |kind| DecodeError { kind, offset };
        self.items_left =
            self.items_left.checked_sub(1).ok_or_else(|| at(DecodeErrorKind::TooManyItems))?;
        Ok(match self.byte()? {
            tag::NONE => Token::None,
            tag::TRUE => Token::Bool(true),
            tag::FALSE => Token::Bool(false),
            tag::NOT_IMPLEMENTED => Token::NotImplemented,
            tag::ELLIPSIS => Token::Ellipsis,
            tag::STR => Token::Str(self.text()?),
            tag::INT_L1 => {
                let len = self.len_u8()?;
                self.int(len)?
            }
            tag::INT_L4 => {
                let len = self.len_u32()?;
                self.int(len)?
            }
            tag::FLOAT => Token::Float(self.float()?),
            tag::COMPLEX => Token::Complex(self.float()?, self.float()?),
            tag::SLICE => match self.tuple_len()? {
                Some(3) => Token::Slice,
                _ => return Err(at(DecodeErrorKind::BadSlice)),
            },
            tag::FROZENSET => match self.tuple_len()? {
                Some(len) => Token::FrozenSet(len),
                None => return Err(at(DecodeErrorKind::BadSet)),
            },
            immediate @ tag::IMMEDIATE_FIRST..=tag::IMMEDIATE_LAST => {
                Token::Int(IntToken(IntRepr::Immediate(i64::from(immediate) - tag::IMMEDIATE_BIAS)))
            }
            other => {
                if let Some(bytes) = self.bytes_payload(other)? {
                    Token::Bytes(bytes)
                } else if let Some(len) = self.tuple_payload(other)? {
                    Token::Tuple(len)
                } else {
                    return Err(at(DecodeErrorKind::UnknownTag(other)));
                }
            }
        })
    }

    /// Passes over `count` whole values and everything in them, however deep.
    ///
    /// # Errors
    /// [`DecodeError`] as [`Tokens::next_token`].
    pub fn skip(&mut self, count: usize) -> Result<(), DecodeError> {
        // Every pending value takes at least a byte, so the sum cannot overflow before the input
        // ends.
        let mut pending = count;
        while pending > 0 {
            pending -= 1;
            pending = pending.saturating_add(match self.next_token()? {
                Token::Tuple(len) | Token::FrozenSet(len) => len,
                Token::Slice => 3,
                _ => 0,
            });
        }
        Ok(())
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        let offset = self.offset();
        let at = |kind| DecodeError { kind, offset };
        let inner = self.byte()?;
        let bytes = self.bytes_payload(inner)?.ok_or_else(|| at(DecodeErrorKind::BadText))?;
        std::str::from_utf8(bytes).map_err(|invalid| DecodeError {
            kind: DecodeErrorKind::BadUtf8,
            offset: self.offset() - bytes.len() + invalid.valid_up_to(),
        })
    }

    fn int(&mut self, len: usize) -> Result<Token<'a>, DecodeError> {
        let offset = self.offset();
        let at = |kind| DecodeError { kind, offset };
        // A sign does not count as a digit.
        if len > self.int_digits.saturating_add(1) {
            return Err(at(DecodeErrorKind::IntTooLong));
        }
        let text = self.reader.take(len).map_err(|end| self.truncated(end))?;
        let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(at(DecodeErrorKind::BadInt));
        }
        if digits.len() > self.int_digits {
            return Err(at(DecodeErrorKind::IntTooLong));
        }
        match std::str::from_utf8(text) {
            Ok(text) => Ok(Token::Int(IntToken(IntRepr::Text(text)))),
            Err(_) => Err(at(DecodeErrorKind::BadInt)),
        }
    }

    /// The member count of the tuple that starts here, or `None` if something else does.
    fn tuple_len(&mut self) -> Result<Option<usize>, DecodeError> {
        let tag = self.byte()?;
        self.tuple_payload(tag)
    }

    fn tuple_payload(&mut self, tag: u8) -> Result<Option<usize>, DecodeError> {
        let len = match tag {
            tag::EMPTY_TUPLE => 0,
            tag::TUPLE_1..=tag::TUPLE_4 => usize::from(tag - tag::TUPLE_1) + 1,
            tag::TUPLE_L1 => self.len_u8()?,
            tag::TUPLE_L4 => self.len_u32()?,
            _ => return Ok(None),
        };
        // A member takes at least one byte, so no honest count exceeds the remaining bytes.
        if len > self.reader.len() {
            return Err(self.truncated(Exhausted));
        }
        Ok(Some(len))
    }

    fn bytes_payload(&mut self, tag: u8) -> Result<Option<&'a [u8]>, DecodeError> {
        let len = match tag {
            tag::EMPTY_BYTES => 0,
            tag::BYTES_1..=tag::BYTES_4 => usize::from(tag - tag::BYTES_1) + 1,
            tag::BYTES_L1 => self.len_u8()?,
            tag::BYTES_L4 => self.len_u32()?,
            _ => return Ok(None),
        };
        self.reader.take(len).map(Some).map_err(|end| self.truncated(end))
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.reader.byte().map_err(|end| self.truncated(end))
    }

    fn float(&mut self) -> Result<f64, DecodeError> {
        self.reader.array().map(f64::from_be_bytes).map_err(|end| self.truncated(end))
    }

    fn len_u8(&mut self) -> Result<usize, DecodeError> {
        self.byte().map(usize::from)
    }

    fn len_u32(&mut self) -> Result<usize, DecodeError> {
        let len = self.reader.array().map(u32::from_be_bytes).map_err(|end| self.truncated(end))?;
        // Where a usize is smaller, no input is long enough either.
        Ok(usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn truncated(&self, _: Exhausted) -> DecodeError {
        DecodeError { kind: DecodeErrorKind::Truncated, offset: self.offset() + self.reader.len() }
    }
}
