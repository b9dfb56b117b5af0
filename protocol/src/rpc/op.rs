//! The operations that one side may ask of the other.

use std::fmt;
use std::ops::RangeInclusive;

use crate::brine::Value;

macro_rules! operations {
    ($($(#[$doc:meta])* $op:ident = $code:literal, $name:literal, $arity:expr;)*) => {
        /// An operation, by its number on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(clippy::exhaustive_enums, reason = "the wire's vocabulary is closed")]
        pub enum Op {
            $($(#[$doc])* $op = $code,)*
        }

        impl Op {
            /// All of them, in the order of their numbers.
            pub const ALL: [Self; 20] = [$(Self::$op),*];

            /// The operation with this number.
            #[must_use]
            pub const fn from_code(code: i64) -> Option<Self> {
                match code {
                    $($code => Some(Self::$op),)*
                    _ => None,
                }
            }

            /// The name that RPyC gives it, in upper case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$op => $name,)*
                }
            }

            /// How many arguments it takes.
            #[must_use]
            pub const fn arity(self) -> RangeInclusive<usize> {
                match self {
                    $(Self::$op => $arity,)*
                }
            }
        }
    };
}

operations! {
    /// `(data)`: gives it back.
    Ping = 1, "PING", 1..=1;
    /// `()`: the sender is about to close the connection; it gets no answer.
    Close = 2, "CLOSE", 0..=0;
    /// `()`: the object that this side offers first.
    GetRoot = 3, "GETROOT", 0..=0;
    /// `(object, name)`: the attribute.
    GetAttr = 4, "GETATTR", 2..=2;
    /// `(object, name)`: deletes the attribute.
    DelAttr = 5, "DELATTR", 2..=2;
    /// `(object, name, value)`: sets the attribute.
    SetAttr = 6, "SETATTR", 3..=3;
    /// `(object, args, kwargs = ())`: the result of calling it.
    Call = 7, "CALL", 2..=3;
    /// `(object, name, args, kwargs = ())`: the result of calling the attribute.
    CallAttr = 8, "CALLATTR", 3..=4;
    /// `(object)`: its `repr`.
    Repr = 9, "REPR", 1..=1;
    /// `(object)`: its `str`.
    Str = 10, "STR", 1..=1;
    /// `(object, other, comparison = "__cmp__")`: a bool, or `NotImplemented`.
    Cmp = 11, "CMP", 2..=3;
    /// `(object)`: its hash.
    Hash = 12, "HASH", 1..=1;
    /// `(object)`: the names of its attributes.
    Dir = 13, "DIR", 1..=1;
    /// `(object, protocol)`: the object as a pickle.
    Pickle = 14, "PICKLE", 2..=2;
    /// `(object, count = 1)`: the sender releases so many references.
    Del = 15, "DEL", 1..=2;
    /// `(id pack)`: the methods of the object, as pairs of name and documentation.
    Inspect = 16, "INSPECT", 1..=1;
    /// `(iterator, count)`: a tuple of at most so many next items.
    BuffIter = 17, "BUFFITER", 2..=2;
    /// `(object, name, fallback, start, stop, args)`: slicing in the manner of Python 2.
    OldSlicing = 18, "OLDSLICING", 6..=6;
    /// `(object, exception)`: leaves a `with` block.
    CtxExit = 19, "CTXEXIT", 2..=2;
    /// `(class, id pack)`: whether the other object is an instance of the class.
    InstanceCheck = 20, "INSTANCECHECK", 2..=2;
}

impl Op {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    pub(super) fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Int(code) => Self::from_code(code.to_i64()?),
            _ => None,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_operations_correspond() {
        for (op, code) in Op::ALL.into_iter().zip(1..) {
            assert_eq!(Op::from_code(code), Some(op));
            assert_eq!(i64::from(op.code()), code);
        }
        for code in [i64::MIN, -1, 0, 21, 256, 257] {
            assert_eq!(Op::from_code(code), None);
        }
    }
}
