//! From parcels to what serde knows.

use std::fmt;
use std::vec::IntoIter;

use num_bigint::BigInt;
use rpyc_protocol::brine::{Int, Value};
use serde::de::value::{MapDeserializer, SeqDeserializer, StringDeserializer};
use serde::de::{
    self, Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess,
    IntoDeserializer, Unexpected, VariantAccess, Visitor,
};

use super::ser::{TOKEN, pass, passed};
use super::{Parcel, fields};
use crate::{ConvertError, Local, RemoteObject};

/// A parcel, or the content of an object of the peer's that was fetched.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Parcel(Parcel),
    Seq(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

/// Takes `node` for a `T`.
pub(crate) fn from_node<T: DeserializeOwned>(node: Node) -> Result<T, ConvertError> {
    T::deserialize(node)
}

impl Node {
    /// The members of anything that has an order or none, but not of text.
    fn into_members(self) -> Result<Vec<Self>, Self> {
        let values = |values: Vec<Value>| Ok(values.into_iter().map(Self::from).collect());
        match self {
            Self::Seq(members) => Ok(members),
            Self::Parcel(Parcel::Tuple(members)) => {
                Ok(members.into_iter().map(Self::Parcel).collect())
            }
            Self::Parcel(Parcel::Value(Value::Tuple(members))) => values(members),
            Self::Parcel(Parcel::Value(Value::FrozenSet(set))) => values(set.0),
            Self::Parcel(Parcel::Value(Value::Slice(parts))) => values(parts.to_vec()),
            other => Err(other),
        }
    }

    /// The pairs of a map or of a sequence of pairs.
    fn into_pairs(self) -> Result<Vec<(Self, Self)>, ConvertError> {
        let members = match self {
            Self::Map(pairs) => return Ok(pairs),
            other => other.into_members().map_err(|other| other.unexpected(&"a map"))?,
        };
        members
            .into_iter()
            .map(|member| {
                let pair = member.into_members().map_err(|other| other.unexpected(&"a pair"))?;
                <[Self; 2]>::try_from(pair)
                    .map(|[key, value]| (key, value))
                    .map_err(|pair| de::Error::invalid_length(pair.len(), &"a pair"))
            })
            .collect()
    }

    /// Whether it is a pair that begins with the name of a field.
    fn is_field(&self, fields: &[&str]) -> bool {
        let is_name = |name: &str| fields.contains(&name);
        match self {
            Self::Parcel(Parcel::Value(Value::Tuple(pair))) => {
                matches!(pair.as_slice(), [Value::Str(name), _] if is_name(name))
            }
            Self::Parcel(Parcel::Tuple(pair)) => {
                matches!(pair.as_slice(), [Parcel::Value(Value::Str(name)), _] if is_name(name))
            }
            Self::Seq(pair) => {
                matches!(pair.as_slice(), [Self::Parcel(Parcel::Value(Value::Str(name))), _] if is_name(name))
            }
            _ => false,
        }
    }

    /// Whether it is Python's `None`.
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::Parcel(parcel) if parcel.is_none())
    }

    /// The Python name of its type, unless it is an object of the peer's, whose content may do.
    fn type_name(&self) -> Result<&str, ConvertError> {
        match self {
            Self::Parcel(Parcel::Remote(object)) => {
                Err(ConvertError::by_reference(object.class_name()))
            }
            Self::Parcel(parcel) => Ok(parcel.type_name()),
            Self::Seq(_) => Ok("list"),
            Self::Map(_) => Ok("dict"),
        }
    }

    fn unexpected(&self, expected: &dyn de::Expected) -> ConvertError {
        match self.type_name() {
            Ok(found) => de::Error::invalid_type(Unexpected::Other(found), expected),
            Err(error) => error,
        }
    }

    /// As Python has it, `True` is 1.
    fn into_int(self) -> Result<Int, ConvertError> {
        match self {
            Self::Parcel(Parcel::Value(Value::Int(int))) => Ok(int),
            Self::Parcel(Parcel::Value(Value::Bool(value))) => Ok(i64::from(value).into()),
            other => {
                let found = other.type_name()?;
                let message = format!("'{found}' object cannot be interpreted as an integer");
                Err(ConvertError::new(message))
            }
        }
    }

    /// Whole numbers of any size are numbers too.
    fn into_float(self) -> Result<f64, ConvertError> {
        if let Self::Parcel(Parcel::Value(Value::Float(number))) = self {
            return Ok(number);
        }
        let found = self.type_name()?;
        let message = format!("must be real number, not {found}");
        let int = self.into_int().map_err(|_no_number| ConvertError::new(message))?;
        let number = int.to_string().parse().unwrap_or(f64::INFINITY);
        match number {
            f64::INFINITY | f64::NEG_INFINITY => {
                Err(ConvertError::overflow("int too large to convert to float"))
            }
            number => Ok(number),
        }
    }
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        Self::Parcel(Parcel::Value(value))
    }
}

fn visit_int<'de, V: Visitor<'de>>(int: Int, visitor: V) -> Result<V::Value, ConvertError> {
    if let Some(small) = int.to_i64() {
        return if small < 0 {
            visitor.visit_i64(small)
        } else {
            visitor.visit_u64(small.unsigned_abs())
        };
    }
    let big = BigInt::from(int);
    if let Ok(number) = u64::try_from(&big) {
        return visitor.visit_u64(number);
    }
    if let Ok(number) = i128::try_from(&big) {
        return visitor.visit_i128(number);
    }
    match u128::try_from(&big) {
        Ok(number) => visitor.visit_u128(number),
        Err(_) => Err(ConvertError::new("an integer of more than 128 bits")),
    }
}

fn visit_seq<'de, V: Visitor<'de>>(
    members: Vec<Node>,
    visitor: V,
) -> Result<V::Value, ConvertError> {
    let mut access = SeqDeserializer::new(members.into_iter());
    let seq = visitor.visit_seq(&mut access)?;
    access.end()?;
    Ok(seq)
}

fn visit_map<'de, V: Visitor<'de>>(
    pairs: Vec<(Node, Node)>,
    visitor: V,
) -> Result<V::Value, ConvertError> {
    let mut access = MapDeserializer::<'_, IntoIter<(Node, Node)>, _>::new(pairs.into_iter());
    let map = visitor.visit_map(&mut access)?;
    access.end()?;
    Ok(map)
}

/// Whole numbers of one type: an overflow has another error than a value of another type.
macro_rules! integers {
    ($($deserialize:ident $type:ident)*) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
            let int = self.into_int()?;
            let fits = match int.to_i64() {
                Some(small) => $type::try_from(small).is_ok(),
                None => $type::try_from(&BigInt::from(int.clone())).is_ok(),
            };
            if !fits {
                let message = concat!("int out of range for ", stringify!($type));
                return Err(ConvertError::overflow(message));
            }
            visit_int(int, visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Node {
    type Error = ConvertError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        match self {
            Self::Map(pairs) => visit_map(pairs, visitor),
            Self::Parcel(Parcel::Value(value)) => match value {
                Value::None => visitor.visit_unit(),
                Value::Bool(value) => visitor.visit_bool(value),
                Value::Int(int) => visit_int(int, visitor),
                Value::Float(value) => visitor.visit_f64(value),
                Value::Complex(real, imaginary) => visit_seq(
                    vec![Value::from(real).into(), Value::from(imaginary).into()],
                    visitor,
                ),
                Value::Bytes(bytes) => visitor.visit_byte_buf(bytes),
                Value::Str(text) => visitor.visit_string(text),
                other => match Self::from(other).into_members() {
                    Ok(members) => visit_seq(members, visitor),
                    Err(other) => Err(other.unexpected(&visitor)),
                },
            },
            other => match other.into_members() {
                Ok(members) => visit_seq(members, visitor),
                Err(other) => Err(other.unexpected(&visitor)),
            },
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        match self {
            // `NotImplemented` is what a comparison gives that knows no answer.
            Self::Parcel(Parcel::Value(Value::None | Value::NotImplemented)) => {
                visitor.visit_none()
            }
            other => visitor.visit_some(other),
        }
    }

    /// `()` accepts anything.
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        if name != TOKEN {
            return visitor.visit_newtype_struct(self);
        }
        pass(self.into_parcel());
        let visited = visitor.visit_unit();
        drop(passed());
        visited
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        if let Self::Parcel(Parcel::Value(Value::Bytes(bytes))) = self {
            let mut access = SeqDeserializer::new(bytes.into_iter());
            let seq = visitor.visit_seq(&mut access)?;
            access.end()?;
            return Ok(seq);
        }
        match self {
            Self::Map(pairs) => {
                let members = pairs.into_iter().map(|(key, value)| Self::Seq(vec![key, value]));
                visit_seq(members.collect(), visitor)
            }
            other => match other.into_members() {
                Ok(members) => visit_seq(members, visitor),
                Err(other) => other.deserialize_any(visitor),
            },
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        self.visit_positions(&format_args!("struct {name}"), visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        visit_map(self.into_pairs()?, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        self.visit_fields(&format_args!("struct {name}"), fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        let variant = match self {
            Self::Parcel(Parcel::Value(Value::Str(name))) => Variant { name, content: None },
            other => {
                let mut pairs = match other {
                    Self::Map(pairs) => pairs,
                    pair => vec![
                        <[Self; 2]>::try_from(
                            pair.into_members().map_err(|other| other.unexpected(&visitor))?,
                        )
                        .map(|[name, content]| (name, content))
                        .map_err(|pair| {
                            ConvertError::new(format!("a tuple of {} for a variant", pair.len()))
                        })?,
                    ],
                };
                match (pairs.pop(), pairs.is_empty()) {
                    (Some((Self::Parcel(Parcel::Value(Value::Str(name))), content)), true) => {
                        Variant { name, content: Some(content) }
                    }
                    _ => {
                        return Err(ConvertError::new(
                            "a variant is a name, or a name and content",
                        ));
                    }
                }
            }
        };
        visitor.visit_enum(variant)
    }

    integers! {
        deserialize_i8 i8 deserialize_i16 i16 deserialize_i32 i32 deserialize_i64 i64
        deserialize_i128 i128 deserialize_u8 u8 deserialize_u16 u16 deserialize_u32 u32
        deserialize_u64 u64 deserialize_u128 u128
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        visitor.visit_f64(self.into_float()?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        visitor.visit_f64(self.into_float()?)
    }

    serde::forward_to_deserialize_any! {
        bool char str string bytes byte_buf identifier
    }
}

impl Node {
    /// Takes it for the fields of `owner`, by name or by position.
    fn visit_fields<'de, V: Visitor<'de>>(
        self,
        owner: &dyn fmt::Display,
        names: &[&str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        let members = match self {
            Self::Map(pairs) => return visit_map(pairs, visitor),
            other => other.into_members().map_err(|other| other.unexpected(&visitor))?,
        };
        if !members.is_empty() && members.iter().all(|member| member.is_field(names)) {
            visit_map(Self::Seq(members).into_pairs()?, visitor)
        } else {
            fields::visit(members, owner, visitor)
        }
    }

    /// Takes it for the fields of `owner`, which have no names.
    fn visit_positions<'de, V: Visitor<'de>>(
        self,
        owner: &dyn fmt::Display,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        match self.into_members() {
            Ok(members) => fields::visit(members, owner, visitor),
            Err(other) => other.deserialize_seq(visitor),
        }
    }

    /// The parcel; fetched content becomes tuples.
    fn into_parcel(self) -> Parcel {
        match self {
            Self::Parcel(parcel) => parcel,
            Self::Seq(members) => {
                Parcel::tuple(members.into_iter().map(Self::into_parcel).collect())
            }
            Self::Map(pairs) => {
                let pair = |(key, value): (Self, Self)| {
                    Parcel::tuple(vec![key.into_parcel(), value.into_parcel()])
                };
                Parcel::tuple(pairs.into_iter().map(pair).collect())
            }
        }
    }
}

impl IntoDeserializer<'_, ConvertError> for Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// The variant of an enum, and what it holds.
struct Variant {
    name: String,
    content: Option<Node>,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = ConvertError;
    type Variant = Content;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Content), ConvertError> {
        let Self { name, content } = self;
        let variant: StringDeserializer<ConvertError> = name.clone().into_deserializer();
        Ok((seed.deserialize(variant)?, Content { name, content }))
    }
}

/// What a variant holds, and its name.
struct Content {
    name: String,
    content: Option<Node>,
}

impl Content {
    fn take(self) -> Result<(String, Node), ConvertError> {
        let node =
            self.content.ok_or_else(|| ConvertError::new("a variant without its content"))?;
        Ok((format!("variant {}", self.name), node))
    }
}

impl<'de> VariantAccess<'de> for Content {
    type Error = ConvertError;

    fn unit_variant(self) -> Result<(), ConvertError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, ConvertError> {
        seed.deserialize(self.take()?.1)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        let (variant, node) = self.take()?;
        node.visit_positions(&variant, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        let (variant, node) = self.take()?;
        node.visit_fields(&variant, fields, visitor)
    }
}

/// Takes whatever is passed.
struct Take;

impl Visitor<'_> for Take {
    type Value = Parcel;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what came over an RPyC connection")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Parcel, E> {
        passed().ok_or_else(|| E::custom("objects can be taken from an RPyC connection only"))
    }
}

impl<'de> Deserialize<'de> for Parcel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(TOKEN, Take)
    }
}

impl<'de> Deserialize<'de> for RemoteObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Parcel::deserialize(deserializer)? {
            Parcel::Remote(object) => Ok(object),
            other => Err(de::Error::invalid_type(
                Unexpected::Other(other.type_name()),
                &"an object of the peer's",
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Local {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Parcel::deserialize(deserializer)? {
            Parcel::Local(object) => Ok(object),
            other => Err(de::Error::invalid_type(
                Unexpected::Other(other.type_name()),
                &"an object of this side",
            )),
        }
    }
}
