//! How the two sides name objects to each other.
//!
//! On the wire an object is a tuple of three, its *id pack*: the name of its class, a value for the
//! class and a value for the object itself. rpyc puts memory addresses there; to the other side the
//! pack is opaque and is echoed unchanged. This side puts small numbers that are never used twice.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::brine::{Token, Tokens};
use crate::{Limits, brine};

/// An object of this side that is offered to the peer; numbered separately on each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(pub(super) u64);

impl ObjectId {
    /// The number, which is also the last member of the id pack.
    #[must_use]
    pub fn to_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// The class of an object that is offered to the peer. Cheap to clone.
///
/// The name decides how a Python peer builds its proxy. It asks (INSPECT) for the methods of each
/// object whose class it does not know; it knows, among others, `builtins.function`,
/// `builtins.method`, `builtins.generator`, `builtins.object`, `builtins.list` and `builtins.dict`.
/// A name that begins with a module that the peer has imported confuses its `__class__`, and a NUL
/// in it is an error there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    name: Arc<str>,
    id: u32,
}

impl Class {
    /// A class by its full name, for instance `payroll.Ledger`, and a number that is the same for
    /// all objects of the class and no other.
    #[must_use]
    pub fn new(name: &str, id: u32) -> Self {
        Self { name: name.into(), id }
    }

    /// Its full name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }
}

/// The name that the peer gave to one of its objects. Cheap to clone; equal if the bytes are.
///
/// It is meaningful only on the connection that it came from.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdPack(Arc<[u8]>);

impl IdPack {
    /// Takes over brine that is known to be a tuple of a text and two values.
    pub(super) fn from_brine(brine: &[u8]) -> Self {
        Self(brine.into())
    }

    /// The bytes to echo.
    pub(super) fn as_brine(&self) -> &[u8] {
        &self.0
    }

    /// The name of the object's class (of the module, if it is one), as the peer wrote it.
    #[must_use]
    pub fn class_name(&self) -> &str {
        let name = || {
            let mut tokens = Tokens::new(&self.0, &Limits::DEFAULT).ok()?;
            tokens.next_token().ok()?;
            match tokens.next_token().ok()? {
                Token::Str(name) => Some(name),
                _ => None,
            }
        };
        name().unwrap_or_default()
    }

    /// Whether it names a class and no object of it: Python gives those the number 0.
    #[must_use]
    pub fn is_class(&self) -> bool {
        match self.to_value() {
            brine::Value::Tuple(members) => {
                members.get(2).is_some_and(|object| *object == brine::Value::from(0))
            }
            _ => false,
        }
    }

    /// The pack as a value: `(name, class, object)`.
    #[must_use]
    pub fn to_value(&self) -> brine::Value {
        brine::decode(&self.0, &Limits::DEFAULT).unwrap_or(brine::Value::None)
    }
}

impl Borrow<[u8]> for IdPack {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for IdPack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IdPack").field(&self.to_value()).finish()
    }
}
