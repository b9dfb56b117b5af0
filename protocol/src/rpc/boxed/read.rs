//! Brine to boxes.

use super::{Boxed, LABEL_RECEIVERS, LABEL_SENDERS, LABEL_TUPLE, LABEL_VALUE, Objects};
use crate::brine::{DecodeError, DecodeErrorKind, Token, Value};
use crate::rpc::ObjectId;
use crate::rpc::cursor::Cursor;
use crate::rpc::refusal::{ReadError, Refusal};

/// Reads the next value as a box with at most `depth` tuples in each other.
pub(in crate::rpc) fn read_box(
    cursor: &mut Cursor<'_>,
    depth: u16,
    objects: &mut impl Objects,
) -> Result<Boxed, ReadError> {
    let mut peek = cursor.clone();
    match peek.token()? {
        Token::Tuple(2) => *cursor = peek,
        Token::Tuple(given) => return Err(Refusal::Count { expected: 2, given }.into()),
        _ => return Err(Refusal::not_a_tuple(&cursor.value(depth)?).into()),
    }
    let label = match cursor.token()? {
        Token::Int(label) => label.to_i64(),
        _ => None,
    };
    match label {
        Some(LABEL_VALUE) => Ok(Boxed::Value(cursor.value(depth)?)),
        Some(LABEL_TUPLE) => {
            let mut peek = cursor.clone();
            let Token::Tuple(len) = peek.token()? else {
                return Err(Refusal::not_a_tuple(&cursor.value(depth)?).into());
            };
            *cursor = peek;
            let too_deep = DecodeError { kind: DecodeErrorKind::TooDeep, offset: 0 };
            let depth = depth.checked_sub(1).ok_or(too_deep)?;
            // The announced length is not trusted with memory.
            let mut members = Vec::with_capacity(len.min(8));
            for _ in 0..len {
                members.push(read_box(cursor, depth, objects)?);
            }
            Ok(Boxed::tuple(members))
        }
        Some(LABEL_RECEIVERS) => read_own(cursor, depth, objects).map(Boxed::Local),
        Some(LABEL_SENDERS) => {
            let mut inside = cursor.clone();
            match inside.token()? {
                Token::Tuple(3) => {}
                Token::Tuple(given) => return Err(Refusal::Count { expected: 3, given }.into()),
                _ => return Err(Refusal::not_a_tuple(&cursor.value(depth)?).into()),
            }
            let Token::Str(_) = inside.token()? else { return Err(Refusal::NameType.into()) };
            Ok(Boxed::Remote(objects.receive(cursor.raw()?)))
        }
        Some(label) => Err(Refusal::Label(label).into()),
        None => Err(Refusal::LabelType.into()),
    }
}

/// Reads an id pack that this side gave out.
fn read_own(
    cursor: &mut Cursor<'_>,
    depth: u16,
    objects: &impl Objects,
) -> Result<ObjectId, ReadError> {
    let mut inside = cursor.clone();
    if let Token::Tuple(3) = inside.token()?
        && let Token::Str(name) = inside.token()?
        && let Token::Int(class) = inside.token()?
        && let Token::Int(object) = inside.token()?
        && let (Some(class), Some(object)) = (class.to_i64(), object.to_i64())
        && let Some(found) = objects.find(name, class, object)
    {
        *cursor = inside;
        return Ok(found);
    }
    Err(Refusal::UnknownObject { id: cursor.value(depth)? }.into())
}

/// The object of this side that an id pack names; for the operations that take it as a value.
pub(in crate::rpc) fn find_own(id: &Value, objects: &impl Objects) -> Option<ObjectId> {
    let Value::Tuple(members) = id else { return None };
    let [Value::Str(name), Value::Int(class), Value::Int(object)] = members.as_slice() else {
        return None;
    };
    objects.find(name, class.to_i64()?, object.to_i64()?)
}
