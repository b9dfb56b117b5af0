//! Integers without a bound, cheap when they are small.

use std::fmt;
use std::str::FromStr;

use num_bigint::BigInt;

/// An integer of any size, as Python's `int`.
///
/// Values that fit 64 bits are held without an allocation.
///
/// ```
/// use rpyc_protocol::brine::Int;
///
/// let big: Int = "340282366920938463463374607431768211456".parse()?;
/// assert_eq!(big.to_i64(), None);
/// assert_eq!(Int::from(7).to_i64(), Some(7));
/// # Ok::<(), rpyc_protocol::brine::ParseIntError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Int(Repr);

// Invariant: `Big` never holds what fits `Small`, so the derived equality is numeric equality.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Repr {
    Small(i64),
    Big(Box<BigInt>),
}

impl Int {
    /// The value, if it fits.
    #[must_use]
    pub fn to_i64(&self) -> Option<i64> {
        match &self.0 {
            Repr::Small(value) => Some(*value),
            Repr::Big(_) => None,
        }
    }

    /// Reads text that is an optional sign and at least one ASCII digit.
    pub(super) fn from_decimal(text: &str) -> Option<Self> {
        if let Ok(small) = text.parse() {
            return Some(Self(Repr::Small(small)));
        }
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        BigInt::from_str(text).ok().map(Self::from)
    }
}

impl From<i64> for Int {
    fn from(value: i64) -> Self {
        Self(Repr::Small(value))
    }
}

impl From<BigInt> for Int {
    fn from(value: BigInt) -> Self {
        match i64::try_from(&value) {
            Ok(small) => Self(Repr::Small(small)),
            Err(_) => Self(Repr::Big(Box::new(value))),
        }
    }
}

impl From<Int> for BigInt {
    fn from(value: Int) -> Self {
        match value.0 {
            Repr::Small(small) => Self::from(small),
            Repr::Big(big) => *big,
        }
    }
}

macro_rules! from_primitive {
    ($($primitive:ty)*) => {$(
        impl From<$primitive> for Int {
            fn from(value: $primitive) -> Self {
                match i64::try_from(value) {
                    Ok(small) => Self(Repr::Small(small)),
                    Err(_) => Self(Repr::Big(Box::new(BigInt::from(value)))),
                }
            }
        }
    )*};
}
from_primitive!(u8 u16 u32 u64 u128 usize i8 i16 i32 i128 isize);

impl FromStr for Int {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        Self::from_decimal(text).ok_or(ParseIntError)
    }
}

/// Text that is not an optional sign followed by decimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal integer")]
#[non_exhaustive]
pub struct ParseIntError;

impl fmt::Display for Int {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Small(value) => value.fmt(f),
            Repr::Big(value) => value.fmt(f),
        }
    }
}
