//! Values that brine can carry.

use super::{Int, Writer};

/// One value, as Python's brine knows them.
///
/// Equality is that of the wire: floats compare by their bits (so a NaN equals itself and `0.0`
/// differs from `-0.0`), and `True` is not `1`.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "the wire's vocabulary is closed")]
pub enum Value {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// `NotImplemented`.
    NotImplemented,
    /// `Ellipsis`.
    Ellipsis,
    /// An integer of any size.
    Int(Int),
    /// A float, bit for bit.
    Float(f64),
    /// A complex number: real and imaginary part.
    Complex(f64, f64),
    /// `bytes`.
    Bytes(Vec<u8>),
    /// `str`.
    Str(String),
    /// `tuple`.
    Tuple(Vec<Self>),
    /// `frozenset`.
    FrozenSet(FrozenSet),
    /// `slice`: start, stop and step.
    Slice(Box<[Self; 3]>),
}

/// The members of a `frozenset`, in the order in which they stand on the wire.
///
/// Python's order is arbitrary, so equality does not depend on it.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a set is its members")]
pub struct FrozenSet(pub Vec<Value>);

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None)
            | (Self::NotImplemented, Self::NotImplemented)
            | (Self::Ellipsis, Self::Ellipsis) => true,
            (Self::Bool(left), Self::Bool(right)) => left == right,
            (Self::Int(left), Self::Int(right)) => left == right,
            (Self::Float(left), Self::Float(right)) => left.to_bits() == right.to_bits(),
            (Self::Complex(left, left_i), Self::Complex(right, right_i)) => {
                (left.to_bits(), left_i.to_bits()) == (right.to_bits(), right_i.to_bits())
            }
            (Self::Bytes(left), Self::Bytes(right)) => left == right,
            (Self::Str(left), Self::Str(right)) => left == right,
            (Self::Tuple(left), Self::Tuple(right)) => left == right,
            (Self::FrozenSet(left), Self::FrozenSet(right)) => left == right,
            (Self::Slice(left), Self::Slice(right)) => left == right,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl PartialEq for FrozenSet {
    fn eq(&self, other: &Self) -> bool {
        // Members are unordered, but their encodings are not.
        let sorted = |set: &Self| {
            let mut encodings: Vec<_> = set.0.iter().map(sortable).collect();
            encodings.sort_unstable();
            encodings
        };
        self.0.len() == other.0.len() && sorted(self) == sorted(other)
    }
}

/// The encoding of a value with the members of every set in it sorted.
fn sortable(value: &Value) -> Option<Vec<u8>> {
    fn sort(value: &Value) -> Value {
        match value {
            Value::Tuple(members) => Value::Tuple(members.iter().map(sort).collect()),
            Value::Slice(parts) => Value::Slice(Box::new(parts.each_ref().map(sort))),
            Value::FrozenSet(set) => {
                let mut members: Vec<_> = set.0.iter().map(sort).collect();
                members.sort_by_cached_key(|member| member.to_bytes().ok());
                Value::FrozenSet(FrozenSet(members))
            }
            plain => plain.clone(),
        }
    }
    sort(value).to_bytes().ok()
}

impl Value {
    /// The bytes that Python would write for this value.
    ///
    /// # Errors
    /// [`EncodeError`](super::EncodeError) if a length does not fit 32 bits.
    pub fn to_bytes(&self) -> Result<Vec<u8>, super::EncodeError> {
        let mut out = Vec::new();
        Writer::new(&mut out).value(self)?;
        Ok(out)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<Int> for Value {
    fn from(value: Int) -> Self {
        Self::Int(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Int::from(value))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Str(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Str(value)
    }
}

impl From<Vec<Self>> for Value {
    fn from(members: Vec<Self>) -> Self {
        Self::Tuple(members)
    }
}
