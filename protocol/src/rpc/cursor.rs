//! Walking through the brine of a message, by token, by value or by raw bytes.

use std::borrow::Cow;

use super::Seq;
use crate::Limits;
use crate::brine::{DecodeError, DecodeErrorKind, Token, Tokens, Value, decode_next};

/// A walk over brine that can also hand out the bytes it passes over.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    tokens: Tokens<'a>,
    /// The limit on values.
    items: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        Ok(Self { bytes, tokens: Tokens::new(bytes, limits)?, items: limits.items })
    }

    pub(super) fn token(&mut self) -> Result<Token<'a>, DecodeError> {
        self.tokens.next_token()
    }

    /// The next value, with at most `depth` containers in each other.
    pub(super) fn value(&mut self, depth: u16) -> Result<Value, DecodeError> {
        decode_next(&mut self.tokens, depth)
    }

    /// The bytes of the next value.
    pub(super) fn raw(&mut self) -> Result<&'a [u8], DecodeError> {
        let start = self.tokens.offset();
        self.tokens.skip(1)?;
        Ok(self.bytes.get(start..self.tokens.offset()).unwrap_or_default())
    }

    /// The next value as the number of a message.
    pub(super) fn seq(&mut self) -> Result<Seq<'a>, DecodeError> {
        let before = self.clone();
        if let Token::Int(number) = self.token()?
            && let Some(number) = number.to_i64()
        {
            return Ok(Seq::Number(number));
        }
        *self = before;
        Ok(Seq::Other(Cow::Borrowed(self.raw()?)))
    }

    /// How many values have been walked over, containers and their members.
    pub(super) fn values(&self) -> usize {
        self.items - self.tokens.items_left()
    }

    /// The bytes not walked over yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.tokens.offset()..).unwrap_or_default()
    }

    /// Makes sure that nothing follows.
    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        match self.rest() {
            [] => Ok(()),
            _ => Err(DecodeError {
                kind: DecodeErrorKind::TrailingBytes,
                offset: self.tokens.offset(),
            }),
        }
    }
}
