//! Plain values as pickles, for `rpyc.classic.obtain`. Nothing is ever unpickled.

use rpyc_client::{Exception, Parcel, Value};

use crate::collection;

const PROTO: u8 = 0x80;
const PROTOCOL: u8 = 2;
const MARK: u8 = b'(';
const STOP: u8 = b'.';

/// A value as Python's pickle of it.
///
/// # Errors
/// `TypeError` for what is not plain: objects other than [`List`](crate::List) and
/// [`Dict`](crate::Dict), sets, slices, `Ellipsis`.
pub fn pickle(content: Parcel, _: i64) -> Result<Vec<u8>, Exception> {
    let mut out = vec![PROTO, PROTOCOL];
    collection::pickle_into(&content, &mut out, collection::DEPTH)?;
    out.push(STOP);
    Ok(out)
}

/// Begins the members of a tuple, a list or a dict.
pub(crate) fn mark(out: &mut Vec<u8>) {
    out.push(MARK);
}

/// Makes a tuple of the members.
pub(crate) fn tuple(out: &mut Vec<u8>) {
    out.push(b't');
}

/// Makes a list of the members.
pub(crate) fn list(out: &mut Vec<u8>) {
    out.push(b'l');
}

/// Makes a dict of the members, keys and values in turn.
pub(crate) fn dict(out: &mut Vec<u8>) {
    out.push(b'd');
}

fn unpicklable(what: &str) -> Exception {
    Exception::builtin("TypeError", format!("cannot pickle '{what}'"))
}

/// Appends a value.
pub(crate) fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), Exception> {
    match value {
        Value::None => out.push(b'N'),
        Value::Bool(true) => out.push(0x88),
        Value::Bool(false) => out.push(0x89),
        // Decimal text, as in the oldest pickles, is good for any size.
        Value::Int(int) => out.extend(format!("I{int}\n").into_bytes()),
        Value::Float(number) => {
            out.push(b'G');
            out.extend(number.to_be_bytes());
        }
        Value::Str(text) => sized(b'X', text.as_bytes(), out)?,
        // BINBYTES, which every Python 3 reads.
        Value::Bytes(bytes) => sized(b'B', bytes, out)?,
        Value::Tuple(members) => {
            out.push(MARK);
            for member in members {
                write(member, out)?;
            }
            out.push(b't');
        }
        Value::Complex(..) => return Err(unpicklable("complex")),
        Value::FrozenSet(_) => return Err(unpicklable("frozenset")),
        Value::Slice(_) => return Err(unpicklable("slice")),
        Value::Ellipsis => return Err(unpicklable("ellipsis")),
        Value::NotImplemented => return Err(unpicklable("NotImplementedType")),
    }
    Ok(())
}

#[expect(clippy::little_endian_bytes, reason = "the pickle format is little-endian")]
fn sized(code: u8, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Exception> {
    let len = u32::try_from(bytes.len()).map_err(|_too_long| unpicklable("so long a text"))?;
    out.push(code);
    out.extend(len.to_le_bytes());
    out.extend(bytes);
    Ok(())
}
