//! What is asked of an object, with its arguments.

mod read;
mod write;

pub(super) use read::Incoming;

use super::Op;
use super::boxed::{Boxed, Object};
use crate::brine::Value;

/// What is asked of an object: all operations but the few that concern the connection itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the wire's vocabulary is closed")]
pub enum Action {
    /// GETATTR: the value of an attribute.
    GetAttr {
        /// Its name.
        name: String,
    },
    /// DELATTR: deletes an attribute; the result is `None`.
    DelAttr {
        /// Its name.
        name: String,
    },
    /// SETATTR: sets an attribute; the result is `None`.
    SetAttr {
        /// Its name.
        name: String,
        /// Its new value.
        value: Boxed,
    },
    /// CALL: calls the object.
    Call {
        /// What with.
        args: Arguments,
    },
    /// CALLATTR: calls an attribute, in one round trip. Python does so only for `__len__` and
    /// the like, but answers it for every name.
    CallAttr {
        /// The name of the attribute.
        name: String,
        /// What with.
        args: Arguments,
    },
    /// REPR: a text.
    Repr,
    /// STR: a text.
    Str,
    /// CMP: a bool, or `NotImplemented`.
    Cmp {
        /// What the object stands on the left of.
        other: Boxed,
        /// How they are compared.
        comparison: Comparison,
    },
    /// HASH: an integer.
    Hash,
    /// DIR: a tuple of texts, [`Boxed::names`].
    Dir,
    /// PICKLE: bytes that Python's `pickle` can load.
    Pickle {
        /// The version of the pickle format; -1 is the highest.
        protocol: i64,
    },
    /// INSPECT: the methods that a proxy shall have, [`Boxed::methods`].
    Inspect,
    /// BUFFITER: a tuple of the next items of an iterator, `()` at its end.
    BuffIter {
        /// How many at most.
        count: usize,
    },
    /// OLDSLICING: calls attribute `name` with a slice, or `fallback` with its ends.
    OldSlicing {
        /// `__getitem__`, `__setitem__` or `__delitem__`.
        name: String,
        /// `__getslice__`, `__setslice__` or `__delslice__`.
        fallback: String,
        /// Where the slice starts.
        start: Boxed,
        /// Where it stops.
        stop: Boxed,
        /// What follows in the call.
        args: Vec<Boxed>,
    },
    /// CTXEXIT: leaves a `with` block; true swallows the exception.
    CtxExit {
        /// The exception's class, or `None`.
        exception: Boxed,
    },
    /// INSTANCECHECK: a bool, whether an object is an instance of this class.
    InstanceCheck {
        /// The other's id pack. It may belong to any connection.
        other: Value,
    },
}

/// The arguments of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "Python knows no third kind")]
pub struct Arguments {
    /// By position.
    pub positional: Vec<Boxed>,
    /// By keyword. Of two with one name, Python takes the last.
    pub keyword: Vec<(String, Boxed)>,
}

/// One of Python's six comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the wire's vocabulary is closed")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Comparison {
    const ALL: [Self; 6] = [Self::Eq, Self::Ne, Self::Lt, Self::Le, Self::Gt, Self::Ge];

    /// The name of Python's method for it.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Eq => "__eq__",
            Self::Ne => "__ne__",
            Self::Lt => "__lt__",
            Self::Le => "__le__",
            Self::Gt => "__gt__",
            Self::Ge => "__ge__",
        }
    }

    /// The comparison by its method. Nothing else: rpyc once looked up whatever name came here.
    fn from_method(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|comparison| comparison.method() == name)
    }
}

impl Action {
    /// Which operation it is.
    #[must_use]
    pub const fn op(&self) -> Op {
        match self {
            Self::GetAttr { .. } => Op::GetAttr,
            Self::DelAttr { .. } => Op::DelAttr,
            Self::SetAttr { .. } => Op::SetAttr,
            Self::Call { .. } => Op::Call,
            Self::CallAttr { .. } => Op::CallAttr,
            Self::Repr => Op::Repr,
            Self::Str => Op::Str,
            Self::Cmp { .. } => Op::Cmp,
            Self::Hash => Op::Hash,
            Self::Dir => Op::Dir,
            Self::Pickle { .. } => Op::Pickle,
            Self::Inspect => Op::Inspect,
            Self::BuffIter { .. } => Op::BuffIter,
            Self::OldSlicing { .. } => Op::OldSlicing,
            Self::CtxExit { .. } => Op::CtxExit,
            Self::InstanceCheck { .. } => Op::InstanceCheck,
        }
    }

    /// Calls `visit` with each object in the arguments.
    pub(super) fn for_each_object(&self, visit: &mut impl FnMut(Object<'_>)) {
        match self {
            Self::SetAttr { value, .. } => value.for_each_object(visit),
            Self::Call { args } | Self::CallAttr { args, .. } => {
                let keyword = args.keyword.iter().map(|(_, boxed)| boxed);
                for boxed in args.positional.iter().chain(keyword) {
                    boxed.for_each_object(visit);
                }
            }
            Self::Cmp { other, .. } => other.for_each_object(visit),
            Self::OldSlicing { start, stop, args, .. } => {
                for boxed in [start, stop].into_iter().chain(args) {
                    boxed.for_each_object(visit);
                }
            }
            Self::CtxExit { exception } => exception.for_each_object(visit),
            _ => {}
        }
    }
}
