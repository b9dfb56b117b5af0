//! Arguments and results: values, objects of either side, and tuples of both.

mod args;
mod de;
mod fields;
mod ser;

use rpyc_protocol::brine::{Int, Value};

pub use args::{Args, IntoArgs};
pub(crate) use de::{Node, from_node};

use crate::{ConvertError, Local, RemoteObject};

/// The parcel that serde carries under `name`, if that is what it does.
pub(crate) fn passed_as(name: &str) -> Option<Parcel> {
    (name == ser::TOKEN).then(ser::passed).flatten()
}

/// An argument or a result: a value, an object of either side, or a tuple with an object in it.
///
/// Whatever serde knows becomes one ([`Parcel::new`]) and is made of one ([`Parcel::parse`]), so it
/// is rarely needed by name: where the types are not known before, and to hold objects and values
/// side by side.
///
/// ```
/// use rpyc_client::Parcel;
///
/// let parcel = Parcel::new(&("Mertz", 3, [0.5, 1.5]))?;
/// let (name, count, factors): (String, u8, Vec<f64>) = parcel.parse()?;
/// assert_eq!((&*name, count, factors), ("Mertz", 3, vec![0.5, 1.5]));
/// # Ok::<(), rpyc_client::ConvertError>(())
/// ```
///
/// # What becomes what
/// | Rust | Python |
/// |---|---|
/// | `()`, `None` | `None` |
/// | numbers, `bool`, text | `int`, `float`, `bool`, `str` |
/// | bytes, as by `serde_bytes` | `bytes` |
/// | tuples, arrays, `Vec`, sets, structs | `tuple` |
/// | maps | `tuple` of pairs, which Python's `dict()` takes |
/// | variants | `str`, or `(str, content)` |
/// | [`RemoteObject`] | the object itself |
/// | [`Local`] | a reference to it |
///
/// The way back is the same, and more liberal: a sequence is also made of `bytes` and `frozenset`,
/// a struct also of pairs of its fields' names and values, `()` of anything.
///
/// # Fields
/// The fields of a struct travel by position. A field that `skip_serializing_if` skips travels as
/// `None`; if it cannot be `None`, the reader gives it its `#[serde(default)]`. A field under
/// `#[serde(skip)]` does not travel. The reader refuses a tuple with fewer members than the struct
/// has fields, because nothing shows which one is missing.
///
/// The wire cannot carry, and this library cannot notice:
/// - an `Option` that is skipped for another value than `None`: it comes back as `None`;
/// - one field with `skip_serializing` and another with `skip_deserializing` in the same struct;
/// - a field of a flattened enum's variant, or a member of a tuple struct, that is skipped inside
///   an untagged, internally tagged or flattened type, which serde itself takes apart.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "the wire's vocabulary is closed")]
pub enum Parcel {
    /// By value.
    Value(Value),
    /// A tuple with an object in it.
    Tuple(Vec<Self>),
    /// An object of this side.
    Local(Local),
    /// An object of the peer's.
    Remote(RemoteObject),
}

impl Parcel {
    /// Python's `None`, which is also the result of what has none.
    pub const NONE: Self = Self::Value(Value::None);

    /// Makes a parcel of anything that serde knows.
    ///
    /// # Errors
    /// [`ConvertError`] if the type itself refuses; whatever it is, there is a form for it.
    pub fn new<T: serde::Serialize + ?Sized>(content: &T) -> Result<Self, ConvertError> {
        content.serialize(ser::Packing)
    }

    /// Makes a parcel of bytes; serde would make a tuple of numbers.
    #[must_use]
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Value(Value::Bytes(bytes.into()))
    }

    /// A tuple, by value if all members are values.
    #[must_use]
    pub fn tuple(members: Vec<Self>) -> Self {
        if members.iter().any(|member| !matches!(member, Self::Value(_))) {
            return Self::Tuple(members);
        }
        let values = members.into_iter().filter_map(|member| member.into_value().ok());
        Self::Value(Value::Tuple(values.collect()))
    }

    /// Takes it for a `T`, if all of it is here.
    ///
    /// # Errors
    /// [`ConvertError`] if it is something else, or an object of the peer's where its content would
    /// be needed; [`RemoteObject::fetch`] brings that.
    pub fn parse<T: serde::de::DeserializeOwned>(self) -> Result<T, ConvertError> {
        from_node(Node::Parcel(self))
    }

    /// The value.
    ///
    /// # Errors
    /// Gives the parcel back if there is an object in it.
    pub fn into_value(self) -> Result<Value, Self> {
        match self {
            Self::Value(value) => Ok(value),
            other => Err(other),
        }
    }

    /// The members of a tuple, whether there are objects in it or not.
    ///
    /// # Errors
    /// Gives the parcel back if it is not a tuple.
    pub fn into_members(self) -> Result<Vec<Self>, Self> {
        match self {
            Self::Value(Value::Tuple(values)) => Ok(values.into_iter().map(Self::Value).collect()),
            Self::Tuple(members) => Ok(members),
            other => Err(other),
        }
    }

    /// Whether it is Python's `None`.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Value(Value::None))
    }

    /// The Python name of its type, as messages have it: `int`, `NoneType`, `builtins.list`.
    #[must_use]
    pub fn type_name(&self) -> &str {
        match self {
            Self::Value(Value::None) => "NoneType",
            Self::Value(Value::Bool(_)) => "bool",
            Self::Value(Value::NotImplemented) => "NotImplementedType",
            Self::Value(Value::Ellipsis) => "ellipsis",
            Self::Value(Value::Int(_)) => "int",
            Self::Value(Value::Float(_)) => "float",
            Self::Value(Value::Complex(..)) => "complex",
            Self::Value(Value::Bytes(_)) => "bytes",
            Self::Value(Value::Str(_)) => "str",
            Self::Value(Value::Tuple(_)) | Self::Tuple(_) => "tuple",
            Self::Value(Value::FrozenSet(_)) => "frozenset",
            Self::Value(Value::Slice(_)) => "slice",
            Self::Local(local) => local.class().name(),
            Self::Remote(remote) => remote.class_name(),
        }
    }
}

impl From<Value> for Parcel {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

impl From<Local> for Parcel {
    fn from(object: Local) -> Self {
        Self::Local(object)
    }
}

impl From<RemoteObject> for Parcel {
    fn from(object: RemoteObject) -> Self {
        Self::Remote(object)
    }
}

macro_rules! from_value {
    ($($value:ty)*) => {$(
        impl From<$value> for Parcel {
            fn from(value: $value) -> Self {
                Self::Value(value.into())
            }
        }
    )*};
}
from_value!(bool f64 i64 Int &str String);

impl From<()> for Parcel {
    fn from((): ()) -> Self {
        Self::NONE
    }
}

#[cfg(test)]
mod tests;
