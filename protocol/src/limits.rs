//! The named bounds that keep hostile bytes from costing more than they are worth.

/// Bounds on one decoded message; exceeding any of them is an error, never a panic.
///
/// The fields are public so that a set of limits reads as one literal:
///
/// ```
/// use rpyc_protocol::Limits;
///
/// let limits = Limits { depth: 8, ..Limits::DEFAULT };
/// assert_eq!(limits.int_digits, 4300);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a literal with `..Limits::DEFAULT` stays valid")]
pub struct Limits {
    /// How deep tuples, frozensets and slices may nest. CPython fails near 330; a decoder that
    /// recurses needs a bound that its stack can bear. Default 200.
    pub depth: u16,
    /// Longest message, in bytes. Default 64 MiB.
    pub bytes: usize,
    /// How many values one message may hold, counting containers and their members. Bounds the
    /// memory that short encodings (one byte a value) can ask for. Default 1,000,000.
    pub items: usize,
    /// Longest decimal text of an integer. Parsing costs the square of it; CPython refuses more
    /// than 4300, so nothing longer can come from a Python peer. Default 4300.
    pub int_digits: usize,
}

impl Limits {
    /// For values of a conversation between programs.
    pub const DEFAULT: Self =
        Self { depth: 200, bytes: 64 << 20, items: 1_000_000, int_digits: 4300 };

    /// For one request to a registry: 64 names of 255 bytes and room to spare.
    pub const REQUEST: Self = Self { depth: 16, bytes: 32 << 10, items: 2048, int_digits: 20 };

    /// For one answer of a registry: what fits into the largest datagram or an unusually long
    /// stream of names.
    pub const REPLY: Self = Self { depth: 16, bytes: 16 << 20, items: 4_000_000, int_digits: 20 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
