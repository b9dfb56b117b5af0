//! Bytes to owned values.

use super::{DecodeError, DecodeErrorKind, FrozenSet, Token, Tokens, Value};
use crate::Limits;

/// Decodes bytes that are exactly one value.
///
/// # Errors
/// [`DecodeError`] if they are not: the fault of the sender. Strict where Python is not: a
/// truncated text is an error, and so are bytes after the value.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Value, DecodeError> {
    let (value, len) = decode_prefix(bytes, limits)?;
    if len < bytes.len() {
        return Err(DecodeError { kind: DecodeErrorKind::TrailingBytes, offset: len });
    }
    Ok(value)
}

/// Decodes the value at the front of `bytes` and returns it with its length in bytes.
///
/// # Errors
/// [`DecodeError`] if no value stands there; [`DecodeErrorKind::Truncated`] if more bytes might
/// complete one.
pub fn decode_prefix(bytes: &[u8], limits: &Limits) -> Result<(Value, usize), DecodeError> {
    let mut tokens = Tokens::new(bytes, limits)?;
    let value = value(&mut tokens, limits.depth)?;
    Ok((value, tokens.offset()))
}

pub(crate) fn value(tokens: &mut Tokens<'_>, depth: u16) -> Result<Value, DecodeError> {
    let offset = tokens.offset();
    let at = |kind| DecodeError { kind, offset };
    let inner = || depth.checked_sub(1).ok_or_else(|| at(DecodeErrorKind::TooDeep));
    Ok(match tokens.next_token()? {
        Token::None => Value::None,
        Token::Bool(value) => Value::Bool(value),
        Token::NotImplemented => Value::NotImplemented,
        Token::Ellipsis => Value::Ellipsis,
        Token::Int(int) => Value::Int(int.to_int().ok_or_else(|| at(DecodeErrorKind::BadInt))?),
        Token::Float(value) => Value::Float(value),
        Token::Complex(real, imaginary) => Value::Complex(real, imaginary),
        Token::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
        Token::Str(text) => Value::Str(text.to_owned()),
        Token::Tuple(len) => Value::Tuple(members(tokens, len, inner()?)?),
        Token::FrozenSet(len) => Value::FrozenSet(FrozenSet(members(tokens, len, inner()?)?)),
        Token::Slice => {
            let depth = inner()?;
            Value::Slice(Box::new([
                value(tokens, depth)?,
                value(tokens, depth)?,
                value(tokens, depth)?,
            ]))
        }
    })
}

fn members(tokens: &mut Tokens<'_>, len: usize, depth: u16) -> Result<Vec<Value>, DecodeError> {
    // The announced length is not trusted with memory: nested containers could each announce the
    // whole rest of the input. The vector grows with the members that are present.
    let mut members = Vec::with_capacity(len.min(16));
    for _ in 0..len {
        members.push(value(tokens, depth)?);
    }
    Ok(members)
}
