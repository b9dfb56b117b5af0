//! Equality as Python has it: `1 == 1.0 == True`.

use rpyc_client::{Int, Parcel, Value};

use super::{Dict, List};

/// Whether both are equal.
pub(super) fn is_equal(left: &Parcel, right: &Parcel, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    match (left, right) {
        (Parcel::Value(left), Parcel::Value(right)) => normal(left) == normal(right),
        (Parcel::Tuple(left), Parcel::Tuple(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| is_equal(left, right, depth))
        }
        (Parcel::Local(left), Parcel::Local(right)) if left.is_same(right) => true,
        (Parcel::Local(left), Parcel::Local(right)) => {
            if let (Some(left), Some(right)) =
                (left.downcast_ref::<List>(), right.downcast_ref::<List>())
            {
                left.is_equal(right, depth)
            } else if let (Some(left), Some(right)) =
                (left.downcast_ref::<Dict>(), right.downcast_ref::<Dict>())
            {
                left.is_equal(right, depth)
            } else {
                false
            }
        }
        (Parcel::Remote(left), Parcel::Remote(right)) => left.is_same(right),
        _ => false,
    }
}

/// One form for all values that Python holds equal.
pub(super) fn normal(value: &Value) -> Value {
    match value {
        Value::Bool(value) => Value::from(i64::from(*value)),
        // A float that is a whole number is written as one without a point.
        Value::Float(number) if number.fract() == 0.0 => {
            let whole = format!("{number:.0}").parse::<Int>();
            whole.map_or_else(|_| value.clone(), Value::Int)
        }
        Value::Tuple(members) => Value::Tuple(members.iter().map(normal).collect()),
        other => other.clone(),
    }
}
