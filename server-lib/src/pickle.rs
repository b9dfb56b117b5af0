//! Plain values as pickles, for `rpyc.classic.obtain`. Nothing is ever unpickled.

use rpyc_client::{Exception, Parcel, Value};
use serde::ser::{Error, SerializeMap, SerializeSeq, SerializeTuple};
use serde::{Serialize, Serializer};

use crate::{Dict, List, collection};

/// A value as Python's pickle of it.
///
/// # Errors
/// `TypeError` for objects other than [`List`] and [`Dict`].
pub fn pickle(content: Parcel, _: i64) -> Result<Vec<u8>, Exception> {
    rpyc_client::pickle::to_vec(&Plain { parcel: &content, depth: collection::DEPTH })
        .map_err(|error| Exception::builtin("TypeError", format!("cannot pickle: {error}")))
}

/// A parcel by value, with the content of its lists and dicts.
struct Plain<'a> {
    parcel: &'a Parcel,
    /// How much deeper it may be.
    depth: usize,
}

impl Plain<'_> {
    fn inner<'a>(&self, parcel: &'a Parcel) -> Plain<'a> {
        Plain { parcel, depth: self.depth - 1 }
    }
}

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.depth == 0 {
            return Err(S::Error::custom("it is nested too deeply, or contains itself"));
        }
        match self.parcel {
            Parcel::Value(_) => self.parcel.serialize(serializer),
            Parcel::Tuple(members) => {
                let mut tuple = serializer.serialize_tuple(members.len())?;
                for member in members {
                    tuple.serialize_element(&self.inner(member))?;
                }
                tuple.end()
            }
            Parcel::Local(local) => {
                if let Some(list) = local.downcast_ref::<List>() {
                    self.list(&list.items(), serializer)
                } else if let Some(dict) = local.downcast_ref::<Dict>() {
                    self.dict(dict.pairs(), serializer)
                } else {
                    Err(S::Error::custom("there is an object in it"))
                }
            }
            Parcel::Remote(_) => Err(S::Error::custom("there is an object of the client in it")),
        }
    }
}

impl Plain<'_> {
    fn list<S: Serializer>(&self, items: &[Parcel], serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(items.len()))?;
        for item in items {
            list.serialize_element(&self.inner(item))?;
        }
        list.end()
    }

    fn dict<S: Serializer>(
        &self,
        pairs: Vec<(Value, Parcel)>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut dict = serializer.serialize_map(Some(pairs.len()))?;
        for (key, value) in pairs {
            dict.serialize_entry(&Parcel::Value(key), &self.inner(&value))?;
        }
        dict.end()
    }
}
