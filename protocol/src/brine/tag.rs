//! The tag bytes, in the order of the format table.

pub(super) const NONE: u8 = 0x00;
pub(super) const EMPTY_BYTES: u8 = 0x01;
pub(super) const EMPTY_TUPLE: u8 = 0x02;
pub(super) const TRUE: u8 = 0x03;
pub(super) const FALSE: u8 = 0x04;
pub(super) const NOT_IMPLEMENTED: u8 = 0x05;
pub(super) const ELLIPSIS: u8 = 0x06;
pub(super) const STR: u8 = 0x08;
pub(super) const BYTES_1: u8 = 0x0a;
pub(super) const BYTES_4: u8 = 0x0d;
pub(super) const BYTES_L1: u8 = 0x0e;
pub(super) const BYTES_L4: u8 = 0x0f;
pub(super) const TUPLE_1: u8 = 0x10;
pub(super) const TUPLE_4: u8 = 0x13;
pub(super) const TUPLE_L1: u8 = 0x14;
pub(super) const TUPLE_L4: u8 = 0x15;
pub(super) const INT_L1: u8 = 0x16;
pub(super) const INT_L4: u8 = 0x17;
pub(super) const FLOAT: u8 = 0x18;
pub(super) const SLICE: u8 = 0x19;
pub(super) const FROZENSET: u8 = 0x1a;
pub(super) const COMPLEX: u8 = 0x1b;
pub(super) const IMMEDIATE_FIRST: u8 = 0x20;
pub(super) const IMMEDIATE_LAST: u8 = 0xef;

/// An immediate int is written as its value plus this.
pub(super) const IMMEDIATE_BIAS: i64 = 0x50;
