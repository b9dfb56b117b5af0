//! Equality and order as Python has them: `1 == 1.0 == True`, and a list is less than another if
//! the first item that differs is.

use std::cmp::Ordering;

use num_bigint::BigInt;
use rpyc_client::{Exception, Int, Parcel, Value};

use super::{DEPTH, Dict, List};
use crate::builtins::TypeError;

/// How one is to stand to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Lt,
    Le,
    Gt,
    Ge,
}

impl Order {
    /// Whether the items stand to the others as this says.
    pub(super) fn holds(self, left: &[Parcel], right: &[Parcel]) -> Result<bool, Exception> {
        self.of_members(left, right, DEPTH)
    }

    fn symbol(self) -> &'static str {
        match self {
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        }
    }

    fn is(self, order: Ordering) -> bool {
        match self {
            Self::Lt => order.is_lt(),
            Self::Le => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::Ge => order.is_ge(),
        }
    }

    fn of_members(
        self,
        left: &[Parcel],
        right: &[Parcel],
        depth: usize,
    ) -> Result<bool, Exception> {
        let unequal = left.iter().zip(right).find(|(left, right)| !is_equal(left, right, depth));
        match unequal {
            Some((left, right)) => self.of(left, right, depth),
            None => Ok(self.is(left.len().cmp(&right.len()))),
        }
    }

    fn of(self, left: &Parcel, right: &Parcel, depth: usize) -> Result<bool, Exception> {
        let depth = depth.checked_sub(1).ok_or_else(|| TypeError::new("nested too deeply"))?;
        if let (Parcel::Value(left), Parcel::Value(right)) = (left, right)
            && let Some(order) = order_of_values(left, right)
        {
            // No comparison with NaN is true.
            return Ok(order.is_some_and(|order| self.is(order)));
        }
        if let (Ok(left), Ok(right)) = (left.clone().into_members(), right.clone().into_members()) {
            return self.of_members(&left, &right, depth);
        }
        if let (Parcel::Local(left), Parcel::Local(right)) = (left, right)
            && let (Some(left), Some(right)) =
                (left.downcast_ref::<List>(), right.downcast_ref::<List>())
        {
            return self.of_members(&left.items(), &right.items(), depth);
        }
        let message = format!(
            "'{}' not supported between instances of '{}' and '{}'",
            self.symbol(),
            left.type_name().trim_start_matches("builtins."),
            right.type_name().trim_start_matches("builtins."),
        );
        Err(TypeError::new(message).into())
    }
}

/// The order of two numbers, texts or bytes; the outer `None` for other types, the inner one if
/// they have no order, as with NaN.
fn order_of_values(left: &Value, right: &Value) -> Option<Option<Ordering>> {
    match (normal(left), normal(right)) {
        (Value::Int(left), Value::Int(right)) => {
            Some(Some(BigInt::from(left).cmp(&BigInt::from(right))))
        }
        (Value::Str(left), Value::Str(right)) => Some(Some(left.cmp(&right))),
        (Value::Bytes(left), Value::Bytes(right)) => Some(Some(left.cmp(&right))),
        (left, right) => Some(float(&left)?.partial_cmp(&float(&right)?)),
    }
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        Value::Int(int) => int.to_string().parse().ok(),
        _ => None,
    }
}

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
