//! Boxes: a value, or a reference to an object that stays where it is.
//!
//! ```text
//! (1, value)                a value
//! (2, (box, box, ...))      a tuple, some members of which are references
//! (3, id pack)              an object of the receiver's
//! (4, id pack)              an object of the sender's, which counts one more reference to it
//! ```
//!
//! On the wire, labels 3 and 4 are seen by the receiver; in the program, [`Boxed::Local`] and
//! [`Boxed::Remote`] are seen by this side, whichever way the box travels. See `docs/wire.md`,
//! *Boxes*.

mod read;
mod write;

pub(super) use read::{find_own, read_box};
pub use write::Unsendable;
pub(super) use write::{Packer, check_value};

use super::{IdPack, ObjectId};
use crate::brine::Value;

const LABEL_VALUE: i64 = 1;
const LABEL_TUPLE: i64 = 2;
const LABEL_RECEIVERS: i64 = 3;
const LABEL_SENDERS: i64 = 4;

/// The arguments and results on the wire: values, objects, and tuples of both.
///
/// A tuple of nothing but values is a value. [`Boxed::tuple`] sees to that, and so does everything
/// that comes from the peer; so `Boxed::Tuple` always has an object in it somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the wire's vocabulary is closed")]
pub enum Boxed {
    /// By value.
    Value(Value),
    /// A tuple with an object in it.
    Tuple(Vec<Self>),
    /// An object of this side.
    Local(ObjectId),
    /// An object of the peer's.
    Remote(IdPack),
}

impl Boxed {
    /// Python's `None`, which is also the result of an operation that has none.
    pub const NONE: Self = Self::Value(Value::None);

    /// A tuple, by value if all members are values.
    #[must_use]
    pub fn tuple(members: Vec<Self>) -> Self {
        if members.iter().any(|member| !matches!(member, Self::Value(_))) {
            return Self::Tuple(members);
        }
        let values = members.into_iter().filter_map(|member| member.into_value().ok());
        Self::Value(Value::Tuple(values.collect()))
    }

    /// The result of DIR, and of anything else that is a tuple of texts.
    #[must_use]
    pub fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Value(Value::Tuple(names.into_iter().map(Value::from).collect()))
    }

    /// The result of INSPECT: the methods that a proxy shall have, each with its documentation.
    ///
    /// Python looks up the special ones (`__call__`, `__len__`, `__iter__`, ...) on the class of
    /// the proxy, so an unlisted one cannot be used through Python's syntax. All others need not be
    /// listed.
    #[must_use]
    pub fn methods<'a>(methods: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Self {
        let pair = |(name, doc): (&str, Option<&str>)| {
            Value::Tuple(vec![name.into(), doc.map_or(Value::None, Value::from)])
        };
        Self::Value(Value::Tuple(methods.into_iter().map(pair).collect()))
    }

    /// The value.
    ///
    /// # Errors
    /// Gives the box back if there is an object in it.
    pub fn into_value(self) -> Result<Value, Self> {
        match self {
            Self::Value(value) => Ok(value),
            other => Err(other),
        }
    }

    /// The members of a tuple, whether there are objects in it or not.
    ///
    /// # Errors
    /// Gives the box back if it is not a tuple.
    pub fn into_members(self) -> Result<Vec<Self>, Self> {
        match self {
            Self::Value(Value::Tuple(values)) => Ok(values.into_iter().map(Self::Value).collect()),
            Self::Tuple(members) => Ok(members),
            other => Err(other),
        }
    }

    /// Calls `visit` with each object in it.
    pub(super) fn for_each_object(&self, visit: &mut impl FnMut(Object<'_>)) {
        match self {
            Self::Value(_) => {}
            Self::Tuple(members) => {
                for member in members {
                    member.for_each_object(visit);
                }
            }
            Self::Local(object) => visit(Object::Local(*object)),
            Self::Remote(object) => visit(Object::Remote(object)),
        }
    }
}

/// An object in a box.
#[derive(Clone, Copy, Debug)]
pub(super) enum Object<'a> {
    Local(ObjectId),
    Remote(&'a IdPack),
}

impl<T: Into<Value>> From<T> for Boxed {
    fn from(value: T) -> Self {
        Self::Value(value.into())
    }
}

impl From<ObjectId> for Boxed {
    fn from(object: ObjectId) -> Self {
        Self::Local(object)
    }
}

impl From<IdPack> for Boxed {
    fn from(object: IdPack) -> Self {
        Self::Remote(object)
    }
}

/// What boxes need to know about the objects of both sides.
pub(super) trait Objects {
    /// The object of this side that an id pack names, if it is offered.
    fn find(&self, class_name: &str, class: i64, object: i64) -> Option<ObjectId>;

    /// Records one more reference to an object of the peer's.
    fn receive(&mut self, id_pack: &[u8]) -> IdPack;

    /// Appends the id pack of an object of this side and counts one more reference to it.
    fn send(&mut self, object: ObjectId, out: &mut Vec<u8>) -> Result<(), Unsendable>;
}
