//! Values as bytes that Python's `pickle` loads: written here, never read.
//!
//! Version 3 of the format, which every Python 3 knows. Lists become lists, maps and structs dicts,
//! tuples tuples, variants text or a pair; [`Parcel::Value`]s what they are.
//! An object cannot be pickled.
//!
//! It is what [`Object::pickle`](crate::Object::pickle) may give, and how
//! [`Classic::deliver`](crate::classic::Classic::deliver) brings values across.

use num_bigint::BigInt;
use rpyc_protocol::brine::{Int, Value};
use serde::Serialize;
use serde::ser::{self, Serializer};

use crate::parcel::Parcel;
use crate::{ConvertError, parcel};

const PROTO: &[u8] = b"\x80\x03";
const MARK: u8 = b'(';
const STOP: u8 = b'.';
const NONE: u8 = b'N';
const TRUE: u8 = 0x88;
const FALSE: u8 = 0x89;
const BIN_INT: u8 = b'J';
const LONG1: u8 = 0x8a;
const LONG4: u8 = 0x8b;
const BIN_FLOAT: u8 = b'G';
const BIN_UNICODE: u8 = b'X';
const BIN_BYTES: u8 = b'B';
const EMPTY_LIST: u8 = b']';
const APPENDS: u8 = b'e';
const EMPTY_DICT: u8 = b'}';
const SET_ITEMS: u8 = b'u';
const TUPLE: u8 = b't';
const GLOBAL: u8 = b'c';
const REDUCE: u8 = b'R';

/// Writes a value.
///
/// # Errors
/// [`ConvertError`] for objects, and for content longer than 2 GiB.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, ConvertError> {
    let mut out = PROTO.to_vec();
    value.serialize(&mut Pickler { out: &mut out })?;
    out.push(STOP);
    Ok(out)
}

/// Appends values.
struct Pickler<'a> {
    out: &'a mut Vec<u8>,
}

impl Pickler<'_> {
    fn int(&mut self, int: Int) -> Result<(), ConvertError> {
        if let Some(small) = int.to_i64().and_then(|small| i32::try_from(small).ok()) {
            self.out.push(BIN_INT);
            self.out.extend(little_endian(small.cast_unsigned()));
            return Ok(());
        }
        let bytes = BigInt::from(int).to_signed_bytes_le();
        match u8::try_from(bytes.len()) {
            Ok(len) => self.out.extend([LONG1, len]),
            Err(_) => {
                self.out.push(LONG4);
                self.len(bytes.len())?;
            }
        }
        self.out.extend(bytes);
        Ok(())
    }

    fn len(&mut self, len: usize) -> Result<(), ConvertError> {
        let len = i32::try_from(len).map_err(|_long| ConvertError::new("too long for a pickle"))?;
        self.out.extend(little_endian(len.cast_unsigned()));
        Ok(())
    }

    fn str(&mut self, text: &str) -> Result<(), ConvertError> {
        self.out.push(BIN_UNICODE);
        self.len(text.len())?;
        self.out.extend(text.bytes());
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), ConvertError> {
        self.out.push(BIN_BYTES);
        self.len(bytes.len())?;
        self.out.extend(bytes);
        Ok(())
    }

    fn float(&mut self, value: f64) {
        self.out.push(BIN_FLOAT);
        self.out.extend(value.to_be_bytes());
    }

    /// One of Python's own functions, called with a tuple that `args` writes.
    fn call(
        &mut self,
        function: &str,
        args: impl FnOnce(&mut Self) -> Result<(), ConvertError>,
    ) -> Result<(), ConvertError> {
        self.out.push(GLOBAL);
        self.out.extend(b"builtins\n");
        self.out.extend(function.bytes());
        self.out.extend([b'\n', MARK]);
        args(self)?;
        self.out.extend([TUPLE, REDUCE]);
        Ok(())
    }

    fn value(&mut self, value: &Value) -> Result<(), ConvertError> {
        match value {
            Value::None => self.out.push(NONE),
            Value::Bool(value) => self.out.push(if *value { TRUE } else { FALSE }),
            Value::NotImplemented => self.out.extend(b"cbuiltins\nNotImplemented\n"),
            Value::Ellipsis => self.out.extend(b"cbuiltins\nEllipsis\n"),
            Value::Int(int) => self.int(int.clone())?,
            Value::Float(value) => self.float(*value),
            Value::Complex(real, imaginary) => self.call("complex", |this| {
                this.float(*real);
                this.float(*imaginary);
                Ok(())
            })?,
            Value::Bytes(bytes) => self.bytes(bytes)?,
            Value::Str(text) => self.str(text)?,
            Value::Tuple(members) => self.tuple(members)?,
            Value::FrozenSet(set) => self.call("frozenset", |this| this.tuple(&set.0))?,
            Value::Slice(parts) => {
                self.call("slice", |this| parts.iter().try_for_each(|part| this.value(part)))?;
            }
        }
        Ok(())
    }

    fn tuple(&mut self, members: &[Value]) -> Result<(), ConvertError> {
        self.out.push(MARK);
        members.iter().try_for_each(|member| self.value(member))?;
        self.out.push(TUPLE);
        Ok(())
    }
}

#[expect(clippy::little_endian_bytes, reason = "pickles are little-endian")]
fn little_endian(number: u32) -> [u8; 4] {
    number.to_le_bytes()
}

macro_rules! ints {
    ($($method:ident $number:ty),* $(,)?) => {$(
        fn $method(self, number: $number) -> Result<(), ConvertError> {
            self.int(number.into())
        }
    )*};
}

impl<'a, 'b> Serializer for &'a mut Pickler<'b> {
    type Ok = ();
    type Error = ConvertError;
    type SerializeSeq = Open<'a, 'b>;
    type SerializeTuple = Open<'a, 'b>;
    type SerializeTupleStruct = Open<'a, 'b>;
    type SerializeTupleVariant = Open<'a, 'b>;
    type SerializeMap = Open<'a, 'b>;
    type SerializeStruct = Open<'a, 'b>;
    type SerializeStructVariant = Open<'a, 'b>;

    ints! {
        serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64, serialize_i128 i128,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64, serialize_u128 u128,
    }

    fn serialize_bool(self, value: bool) -> Result<(), ConvertError> {
        self.value(&value.into())
    }

    fn serialize_f32(self, value: f32) -> Result<(), ConvertError> {
        self.float(value.into());
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Result<(), ConvertError> {
        self.float(value);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), ConvertError> {
        self.str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), ConvertError> {
        self.str(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), ConvertError> {
        self.bytes(value)
    }

    fn serialize_none(self) -> Result<(), ConvertError> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), ConvertError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), ConvertError> {
        self.out.push(NONE);
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), ConvertError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
    ) -> Result<(), ConvertError> {
        self.str(name)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), ConvertError> {
        match parcel::passed_as(name) {
            Some(Parcel::Value(inner)) => self.value(&inner),
            Some(_) => Err(ConvertError::new("objects cannot be pickled")),
            None => value.serialize(self),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result<(), ConvertError> {
        self.out.push(MARK);
        self.str(name)?;
        value.serialize(&mut *self)?;
        self.out.push(TUPLE);
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Open<'a, 'b>, ConvertError> {
        Ok(Open::new(self, &[EMPTY_LIST, MARK], &[APPENDS]))
    }

    fn serialize_tuple(self, _: usize) -> Result<Open<'a, 'b>, ConvertError> {
        Ok(Open::new(self, &[MARK], &[TUPLE]))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Open<'a, 'b>, ConvertError> {
        Ok(Open::new(self, &[MARK], &[TUPLE]))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Open<'a, 'b>, ConvertError> {
        self.out.push(MARK);
        self.str(name)?;
        Ok(Open::new(self, &[MARK], &[TUPLE, TUPLE]))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Open<'a, 'b>, ConvertError> {
        Ok(Open::new(self, &[EMPTY_DICT, MARK], &[SET_ITEMS]))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Open<'a, 'b>, ConvertError> {
        Ok(Open::new(self, &[EMPTY_DICT, MARK], &[SET_ITEMS]))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Open<'a, 'b>, ConvertError> {
        self.out.push(MARK);
        self.str(name)?;
        Ok(Open::new(self, &[EMPTY_DICT, MARK], &[SET_ITEMS, TUPLE]))
    }
}

/// A container whose members are being written.
struct Open<'a, 'b> {
    pickler: &'a mut Pickler<'b>,
    end: &'static [u8],
}

impl<'a, 'b> Open<'a, 'b> {
    fn new(pickler: &'a mut Pickler<'b>, begin: &[u8], end: &'static [u8]) -> Self {
        pickler.out.extend(begin);
        Self { pickler, end }
    }

    fn push<T: Serialize + ?Sized>(&mut self, member: &T) -> Result<(), ConvertError> {
        member.serialize(&mut *self.pickler)
    }

    fn finish(self) {
        self.pickler.out.extend(self.end);
    }
}

macro_rules! containers {
    ($($builder:ident $method:ident ($($key:ident)?)),* $(,)?) => {$(
        impl ser::$builder for Open<'_, '_> {
            type Ok = ();
            type Error = ConvertError;

            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($key: &'static str,)?
                member: &T,
            ) -> Result<(), ConvertError> {
                $(self.pickler.str($key)?;)?
                self.push(member)
            }

            fn end(self) -> Result<(), ConvertError> {
                self.finish();
                Ok(())
            }
        }
    )*};
}
containers! {
    SerializeSeq serialize_element (),
    SerializeTuple serialize_element (),
    SerializeTupleStruct serialize_field (),
    SerializeTupleVariant serialize_field (),
    SerializeStruct serialize_field (key),
    SerializeStructVariant serialize_field (key),
}

impl ser::SerializeMap for Open<'_, '_> {
    type Ok = ();
    type Error = ConvertError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ConvertError> {
        self.push(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
        self.push(value)
    }

    fn end(self) -> Result<(), ConvertError> {
        self.finish();
        Ok(())
    }
}
