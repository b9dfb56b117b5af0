//! Python's special methods, by the options that mark them.

use std::fmt::Write as _;

macro_rules! specials {
    ($($special:ident $flag:literal $name:literal $values:expr;)*) => {
        /// A special method that the trait of objects has a method for.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Special {
            $($special,)*
        }

        impl Special {
            const ALL: &'static [Self] = &[$(Self::$special),*];

            /// The option that marks it.
            fn flag(self) -> &'static str {
                match self {
                    $(Self::$special => $flag,)*
                }
            }

            /// What Python calls it.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$special => $name,)*
                }
            }

            /// How many arguments its method may have, besides the context; any number if none.
            pub(crate) fn arity(self) -> Option<std::ops::RangeInclusive<usize>> {
                match self {
                    $(Self::$special => $values,)*
                }
            }
        }
    };
}

specials! {
    Call "call" "__call__" None;
    Len "len" "__len__" Some(0..=0);
    GetItem "get_item" "__getitem__" Some(1..=1);
    SetItem "set_item" "__setitem__" Some(2..=2);
    DelItem "del_item" "__delitem__" Some(1..=1);
    Contains "contains" "__contains__" Some(1..=1);
    Iter "iter" "__iter__" Some(0..=0);
    Next "next" "__next__" Some(0..=0);
    Enter "enter" "__enter__" Some(0..=0);
    Exit "exit" "__exit__" Some(0..=1);
    Eq "eq" "__eq__" Some(1..=1);
    Ne "ne" "__ne__" Some(1..=1);
    Lt "lt" "__lt__" Some(1..=1);
    Le "le" "__le__" Some(1..=1);
    Gt "gt" "__gt__" Some(1..=1);
    Ge "ge" "__ge__" Some(1..=1);
    Hash "hash" "__hash__" Some(0..=0);
    Str "str" "__str__" Some(0..=0);
    Repr "repr" "__repr__" Some(0..=0);
    Pickle "pickle" "__reduce_ex__" Some(0..=0);
}

impl Special {
    pub(crate) fn from_flag(flag: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|special| special.flag() == flag)
    }

    /// By the name that Python gives it, as `fn __len__`.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let is_named = |special: &Self| special.name() == name && *special != Self::Pickle;
        Self::ALL.iter().copied().find(is_named)
    }

    pub(crate) fn flags() -> String {
        let mut flags = String::new();
        for special in Self::ALL {
            let separator = if flags.is_empty() { "" } else { ", " };
            write!(flags, "{separator}{}", special.flag()).expect("text can be written to text");
        }
        flags
    }

    pub(crate) fn comparison(self) -> Option<&'static str> {
        Some(match self {
            Self::Eq => "Eq",
            Self::Ne => "Ne",
            Self::Lt => "Lt",
            Self::Le => "Le",
            Self::Gt => "Gt",
            Self::Ge => "Ge",
            _ => return None,
        })
    }

    /// Whether a client must know of it before the syntax for it works.
    pub(crate) fn is_listed(self) -> bool {
        self.comparison().is_none()
            && !matches!(self, Self::Hash | Self::Str | Self::Repr | Self::Pickle)
    }
}
