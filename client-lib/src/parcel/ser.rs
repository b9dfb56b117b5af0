//! From what serde knows to parcels.

use std::cell::Cell;

use rpyc_protocol::brine::{Int, Value};
use serde::ser::{self, Serialize, Serializer};

use super::Parcel;
use crate::ConvertError;
use crate::{Local, RemoteObject};

/// The name by which a parcel makes itself known to this crate's serializer and deserializer.
pub(super) const TOKEN: &str = "$rpyc_client::Parcel";

thread_local! {
    /// A parcel on its way through serde, which has no word for it.
    static PASSING: Cell<Option<Parcel>> = const { Cell::new(None) };
}

/// Puts a parcel where the other side of a call of serde's finds it.
pub(super) fn pass(parcel: Parcel) {
    PASSING.set(Some(parcel));
}

/// Takes the parcel that was put there.
pub(super) fn passed() -> Option<Parcel> {
    PASSING.take()
}

impl Serialize for Parcel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        pass(self.clone());
        let done = serializer.serialize_newtype_struct(TOKEN, &Passing);
        drop(passed());
        done
    }
}

impl Serialize for RemoteObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Parcel::Remote(self.clone()).serialize(serializer)
    }
}

impl Serialize for Local {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Parcel::Local(self.clone()).serialize(serializer)
    }
}

/// What any other serializer finds in a parcel.
struct Passing;

impl Serialize for Passing {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom("objects can be passed over an RPyC connection only"))
    }
}

/// Makes parcels.
#[derive(Clone, Copy)]
pub(super) struct Packing;

fn int(number: impl Into<Int>) -> Parcel {
    Parcel::Value(Value::Int(number.into()))
}

/// A variant with content: a pair.
fn variant(name: &str, content: Parcel) -> Parcel {
    Parcel::tuple(vec![name.into(), content])
}

macro_rules! ints {
    ($($method:ident $number:ty),* $(,)?) => {$(
        fn $method(self, number: $number) -> Result<Parcel, ConvertError> {
            Ok(int(number))
        }
    )*};
}

impl Serializer for Packing {
    type Ok = Parcel;
    type Error = ConvertError;
    type SerializeSeq = Members;
    type SerializeTuple = Members;
    type SerializeTupleStruct = Members;
    type SerializeTupleVariant = Members;
    type SerializeMap = Pairs;
    type SerializeStruct = Members;
    type SerializeStructVariant = Members;

    ints! {
        serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64, serialize_i128 i128,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64, serialize_u128 u128,
    }

    fn serialize_bool(self, value: bool) -> Result<Parcel, ConvertError> {
        Ok(value.into())
    }

    fn serialize_f32(self, value: f32) -> Result<Parcel, ConvertError> {
        Ok(f64::from(value).into())
    }

    fn serialize_f64(self, value: f64) -> Result<Parcel, ConvertError> {
        Ok(value.into())
    }

    fn serialize_char(self, value: char) -> Result<Parcel, ConvertError> {
        Ok(value.to_string().into())
    }

    fn serialize_str(self, value: &str) -> Result<Parcel, ConvertError> {
        Ok(value.into())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Parcel, ConvertError> {
        Ok(Parcel::bytes(value))
    }

    fn serialize_none(self) -> Result<Parcel, ConvertError> {
        Ok(Parcel::NONE)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Parcel, ConvertError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Parcel, ConvertError> {
        Ok(Parcel::NONE)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Parcel, ConvertError> {
        Ok(Parcel::NONE)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
    ) -> Result<Parcel, ConvertError> {
        Ok(name.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Parcel, ConvertError> {
        if name == TOKEN
            && let Some(parcel) = passed()
        {
            return Ok(parcel);
        }
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result<Parcel, ConvertError> {
        Ok(variant(name, value.serialize(self)?))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Members, ConvertError> {
        Ok(Members::default())
    }

    fn serialize_tuple(self, _: usize) -> Result<Members, ConvertError> {
        Ok(Members::default())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Members, ConvertError> {
        Ok(Members::default())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Members, ConvertError> {
        Ok(Members { variant: Some(name), ..Members::default() })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Pairs, ConvertError> {
        Ok(Pairs::default())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members, ConvertError> {
        Ok(Members::default())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Members, ConvertError> {
        Ok(Members { variant: Some(name), ..Members::default() })
    }
}

/// The members of a tuple in the making.
#[derive(Default)]
pub(super) struct Members {
    variant: Option<&'static str>,
    members: Vec<Parcel>,
}

impl Members {
    fn push<T: Serialize + ?Sized>(&mut self, member: &T) -> Result<(), ConvertError> {
        self.members.push(member.serialize(Packing)?);
        Ok(())
    }

    fn finish(self) -> Parcel {
        let tuple = Parcel::tuple(self.members);
        match self.variant {
            Some(name) => variant(name, tuple),
            None => tuple,
        }
    }
}

macro_rules! members {
    ($($builder:ident $method:ident ($($key:ident)?) $($skip:ident)?),* $(,)?) => {$(
        impl ser::$builder for Members {
            type Ok = Parcel;
            type Error = ConvertError;

            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($key: &'static str,)?
                member: &T,
            ) -> Result<(), ConvertError> {
                $(let _ = $key;)?
                self.push(member)
            }

            $(
                /// Keeps the place of the field, or those after it would be taken for others.
                fn $skip(&mut self, _: &'static str) -> Result<(), ConvertError> {
                    self.members.push(Parcel::NONE);
                    Ok(())
                }
            )?

            fn end(self) -> Result<Parcel, ConvertError> {
                Ok(self.finish())
            }
        }
    )*};
}
members! {
    SerializeSeq serialize_element (),
    SerializeTuple serialize_element (),
    SerializeTupleStruct serialize_field (),
    SerializeTupleVariant serialize_field (),
    SerializeStruct serialize_field (key) skip_field,
    SerializeStructVariant serialize_field (key) skip_field,
}

/// The pairs of a map in the making.
#[derive(Default)]
pub(super) struct Pairs {
    key: Option<Parcel>,
    pairs: Vec<Parcel>,
}

impl ser::SerializeMap for Pairs {
    type Ok = Parcel;
    type Error = ConvertError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ConvertError> {
        self.key = Some(key.serialize(Packing)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
        let value = value.serialize(Packing)?;
        self.pairs.push(Parcel::tuple(vec![self.key.take().unwrap_or(Parcel::NONE), value]));
        Ok(())
    }

    fn end(self) -> Result<Parcel, ConvertError> {
        Ok(Parcel::tuple(self.pairs))
    }
}
