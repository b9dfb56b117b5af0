//! Requests to an object, with their arguments.

mod read;
mod write;

pub(super) use read::Incoming;

use super::Op;
use super::boxed::{Boxed, Object};
use crate::brine::Value;

/// A request to an object: all operations but the few that concern the connection itself.
///
/// `T` is an argument: a [`Boxed`] on the wire, or the form that a library gives to its users.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the wire's vocabulary is closed")]
pub enum Action<T = Boxed> {
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
        value: T,
    },
    /// CALL: calls the object.
    Call {
        /// What with.
        args: Arguments<T>,
    },
    /// CALLATTR: calls an attribute, in one round trip. Python does so only for `__len__` and
    /// the like, but answers it for every name.
    CallAttr {
        /// The name of the attribute.
        name: String,
        /// What with.
        args: Arguments<T>,
    },
    /// REPR: a text.
    Repr,
    /// STR: a text.
    Str,
    /// CMP: a bool, or `NotImplemented`.
    Cmp {
        /// What the object stands on the left of.
        other: T,
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
        start: T,
        /// Where it stops.
        stop: T,
        /// What follows in the call.
        args: Vec<T>,
    },
    /// CTXEXIT: leaves a `with` block; true swallows the exception.
    CtxExit {
        /// The exception's class, or `None`.
        exception: T,
    },
    /// INSTANCECHECK: a bool, whether an object is an instance of this class.
    InstanceCheck {
        /// The other's id pack. It may belong to any connection.
        other: Value,
    },
}

/// The arguments of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "Python knows no third kind")]
pub struct Arguments<T = Boxed> {
    /// By position.
    pub positional: Vec<T>,
    /// By keyword. Of two with one name, Python takes the last.
    pub keyword: Vec<(String, T)>,
}

impl<T> Arguments<T> {
    /// No arguments.
    #[must_use]
    pub const fn new() -> Self {
        Self { positional: Vec::new(), keyword: Vec::new() }
    }

    /// Converts each argument.
    pub fn map<U>(self, mut convert: impl FnMut(T) -> U) -> Arguments<U> {
        let positional = self.positional.into_iter().map(&mut convert).collect();
        let keyword = self.keyword.into_iter().map(|(name, value)| (name, convert(value)));
        Arguments { positional, keyword: keyword.collect() }
    }
}

impl<T> Default for Arguments<T> {
    fn default() -> Self {
        Self::new()
    }
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

impl<T> Action<T> {
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

    /// Converts each argument, in the order in which they are written.
    pub fn map<U>(self, mut convert: impl FnMut(T) -> U) -> Action<U> {
        match self {
            Self::GetAttr { name } => Action::GetAttr { name },
            Self::DelAttr { name } => Action::DelAttr { name },
            Self::SetAttr { name, value } => Action::SetAttr { name, value: convert(value) },
            Self::Call { args } => Action::Call { args: args.map(convert) },
            Self::CallAttr { name, args } => Action::CallAttr { name, args: args.map(convert) },
            Self::Repr => Action::Repr,
            Self::Str => Action::Str,
            Self::Cmp { other, comparison } => Action::Cmp { other: convert(other), comparison },
            Self::Hash => Action::Hash,
            Self::Dir => Action::Dir,
            Self::Pickle { protocol } => Action::Pickle { protocol },
            Self::Inspect => Action::Inspect,
            Self::BuffIter { count } => Action::BuffIter { count },
            Self::OldSlicing { name, fallback, start, stop, args } => Action::OldSlicing {
                name,
                fallback,
                start: convert(start),
                stop: convert(stop),
                args: args.into_iter().map(convert).collect(),
            },
            Self::CtxExit { exception } => Action::CtxExit { exception: convert(exception) },
            Self::InstanceCheck { other } => Action::InstanceCheck { other },
        }
    }
}

impl Action {
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
