//! Brine: how RPyC writes values as bytes.
//!
//! One tag byte, then a payload; lengths are big-endian. Python's encoder always takes the shortest
//! form, and so does [`Writer`]; the decoders accept the longer ones too.
//!
//! | tag | value | payload |
//! |---|---|---|
//! | `00` | `None` | |
//! | `01` | empty bytes | |
//! | `02` | empty tuple | |
//! | `03` `04` | `True`, `False` | |
//! | `05` `06` | `NotImplemented`, `Ellipsis` | |
//! | `08` | text | one nested *bytes* value, UTF-8 |
//! | `0a`..`0d` | 1 to 4 bytes | the bytes |
//! | `0e` `0f` | bytes | length as u8 or u32, the bytes |
//! | `10`..`13` | tuple of 1 to 4 | the members |
//! | `14` `15` | tuple | count as u8 or u32, the members |
//! | `16` `17` | int | length as u8 or u32, decimal ASCII |
//! | `18` | float | IEEE 754 double |
//! | `19` | slice | a nested tuple of start, stop, step |
//! | `1a` | frozenset | a nested tuple of the members |
//! | `1b` | complex | two doubles |
//! | `20`..`ef` | int from -48 to 159 | none: the tag is the number plus 0x50 |
//!
//! The format is described in full in `docs/wire.md`, section 1. Three ways to read it:
//! [`decode`] gives an owned [`Value`]; [`Tokens`] walks the bytes without allocating; [`Extent`]
//! finds where a value ends in a stream that arrives in pieces.

mod decode;
mod encode;
mod error;
mod extent;
mod int;
mod repr;
mod tag;
mod token;
mod value;

pub(crate) use decode::value as decode_next;
pub use decode::{decode, decode_prefix};
pub use encode::{EncodeError, Writer};
pub use error::{DecodeError, DecodeErrorKind};
pub use extent::Extent;
pub use int::{Int, ParseIntError};
pub use token::{IntToken, Token, Tokens};
pub use value::{FrozenSet, Value};
