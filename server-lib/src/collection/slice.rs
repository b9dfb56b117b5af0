//! The places that an index or a slice names.

use rpyc_client::{Exception, Int, Parcel, Value};

use crate::builtins::{IndexError, TypeError, ValueError};

/// The place that an index names.
pub(super) fn place(key: &Parcel, len: usize, message: &'static str) -> Result<usize, Exception> {
    let index = match key {
        Parcel::Value(Value::Int(index)) => index.to_i64(),
        Parcel::Value(Value::Bool(index)) => Some(i64::from(*index)),
        _ => {
            let found = key.type_name();
            let message = format!("list indices must be integers or slices, not {found}");
            return Err(TypeError::new(message).into());
        }
    };
    let index =
        index.ok_or_else(|| IndexError::new("cannot fit 'int' into an index-sized integer"))?;
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let place = if index < 0 { index.saturating_add(len) } else { index };
    Some(place)
        .filter(|place| (0..len).contains(place))
        .and_then(|place| usize::try_from(place).ok())
        .ok_or_else(|| IndexError::new(message).into())
}

/// The end of a slice, counted from the end of the list if it is negative.
pub(super) fn clamp(index: i64, len: usize) -> usize {
    let signed = i64::try_from(len).unwrap_or(i64::MAX);
    let place = if index < 0 { index.saturating_add(signed) } else { index };
    usize::try_from(place.clamp(0, signed)).unwrap_or(len)
}

/// What a slice names.
pub(super) enum Indices {
    /// All from here to before there, which is not before here.
    Run(usize, usize),
    /// These, in this order.
    Each(Vec<usize>),
}

impl Indices {
    /// What `parts` name in a list of `len` items.
    pub(super) fn of(parts: &[Value; 3], len: usize) -> Result<Self, Exception> {
        let [start, stop, step] = parts;
        let (start, stop, step) = (number(start)?, number(stop)?, number(step)?.unwrap_or(1));
        let end = |end: Option<i64>, default| end.map_or(default, |end| clamp(end, len));
        let stride = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
        match step {
            0 => Err(ValueError::new("slice step cannot be zero").into()),
            1.. => {
                let start = end(start, 0);
                let stop = end(stop, len).max(start);
                match stride {
                    1 => Ok(Self::Run(start, stop)),
                    _ => Ok(Self::Each((start..stop).step_by(stride).collect())),
                }
            }
            _ => {
                // Downwards, from the place itself to the one after `stop`.
                let below = |end: i64| {
                    let signed = i64::try_from(len).unwrap_or(i64::MAX);
                    let place = if end < 0 { end.saturating_add(signed) } else { end };
                    usize::try_from(place.saturating_add(1).clamp(0, signed)).unwrap_or(len)
                };
                let (first, last) = (start.map_or(len, below), stop.map_or(0, below));
                Ok(Self::Each((last..first.max(last)).rev().step_by(stride).collect()))
            }
        }
    }

    pub(super) fn into_vec(self) -> Vec<usize> {
        match self {
            Self::Run(start, stop) => (start..stop).collect(),
            Self::Each(places) => places,
        }
    }
}

fn number(part: &Value) -> Result<Option<i64>, TypeError> {
    // Beyond every list, on the side of its sign.
    let far = |int: &Int| if int.to_string().starts_with('-') { i64::MIN } else { i64::MAX };
    match part {
        Value::None => Ok(None),
        Value::Int(int) => Ok(Some(int.to_i64().unwrap_or_else(|| far(int)))),
        Value::Bool(value) => Ok(Some(i64::from(*value))),
        _ => {
            let message = "slice indices must be integers or None or have an __index__ method";
            Err(TypeError::new(message))
        }
    }
}
