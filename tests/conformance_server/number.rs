//! Numbers as Python has them: ints of any size, and floats.

use std::fmt;

use num_bigint::BigInt;
use rpyc_server::builtins::{OverflowError, TypeError};
use rpyc_server::{Exception, Int, Parcel, Value};

#[derive(Clone, Debug)]
pub(super) enum Number {
    Int(BigInt),
    Float(f64),
}

impl Number {
    /// The number in a parcel, if it is one; `True` is 1.
    pub(super) fn of(parcel: &Parcel) -> Option<Self> {
        match parcel {
            Parcel::Value(Value::Int(int)) => Some(Self::Int(int.clone().into())),
            Parcel::Value(Value::Bool(value)) => Some(Self::Int(i64::from(*value).into())),
            Parcel::Value(Value::Float(value)) => Some(Self::Float(*value)),
            _ => None,
        }
    }

    /// The number in a parcel, or an exception if it is not one.
    pub(super) fn wanted(parcel: &Parcel) -> Result<Self, Exception> {
        Self::of(parcel).ok_or_else(|| not_whole(parcel.type_name()).into())
    }

    pub(super) fn plus(&self, other: &Self) -> Result<Self, Exception> {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => Ok(Self::Int(left + right)),
            (left, right) => Ok(Self::Float(left.to_f64()? + right.to_f64()?)),
        }
    }

    /// Whether `0 <= self < end`.
    pub(super) fn is_below(&self, end: &Self) -> bool {
        match (self, end) {
            (Self::Int(number), Self::Int(end)) => BigInt::ZERO <= *number && number < end,
            // An int beyond the range of floats exceeds all of them.
            (number, end) => {
                let [number, end] = [number, end].map(|number| number.to_f64().unwrap_or(f64::NAN));
                0.0 <= number && number < end
            }
        }
    }

    /// This number as the end of a range.
    pub(super) fn end(&self) -> Result<i64, Exception> {
        // A longer range ends here.
        let most = BigInt::from(i64::MAX);
        Ok(i64::try_from(self.whole()?.min(&most)).unwrap_or_default())
    }

    /// The number, if its type is int.
    pub(super) fn whole(&self) -> Result<&BigInt, TypeError> {
        match self {
            Self::Int(int) => Ok(int),
            Self::Float(_) => Err(not_whole("float")),
        }
    }

    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Int(_) => "int",
            Self::Float(_) => "float",
        }
    }

    /// The equal int, if there is one.
    pub(super) fn as_int(&self) -> Option<BigInt> {
        match self {
            Self::Int(int) => Some(int.clone()),
            Self::Float(number) if number.fract() == 0.0 => format!("{number:.0}").parse().ok(),
            Self::Float(_) => None,
        }
    }

    fn to_f64(&self) -> Result<f64, OverflowError> {
        let number = match self {
            Self::Float(number) => return Ok(*number),
            Self::Int(int) => int.to_string().parse().unwrap_or(f64::INFINITY),
        };
        if number.is_finite() {
            Ok(number)
        } else {
            Err(OverflowError::new("int too large to convert to float"))
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Int(int) => Value::Int(Int::from(int.clone())),
            Self::Float(number) => Value::Float(*number),
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        match (self.as_int(), other.as_int()) {
            (Some(left), Some(right)) => left == right,
            (None, None) => matches!((self, other), (Self::Float(a), Self::Float(b)) if a == b),
            _ => false,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_value().fmt(f)
    }
}

impl From<Number> for Parcel {
    fn from(number: Number) -> Self {
        number.to_value().into()
    }
}

/// Python's error for operands that it cannot add.
pub(super) fn cannot_add(operator: &str, left: &str, right: &str) -> TypeError {
    TypeError::new(format!("unsupported operand type(s) for {operator}: '{left}' and '{right}'"))
}

fn not_whole(found: &str) -> TypeError {
    TypeError::new(format!("'{found}' object cannot be interpreted as an integer"))
}
