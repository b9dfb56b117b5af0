//! Dicts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use rpyc_client::{Context, Exception, Local, Parcel, Value};

use super::compare::normal;
use super::{DEPTH, List, is_equal, lock, repr};
use crate::builtins::{KeyError, TypeError};
use crate::object;

/// A dict that stays on this side: to Python, a `dict`, by reference. It keeps its order.
///
/// Keys are values: numbers, texts, bytes and tuples of them.
///
/// ```
/// use rpyc_server::{Dict, Local};
///
/// let prices = Local::new(Dict::from_iter([("tea", 2.5), ("coffee", 3.0)]));
/// ```
#[derive(Debug, Default)]
pub struct Dict(Mutex<Content>);

#[derive(Debug, Default)]
struct Content {
    /// The number of each key, by its bytes in one form for all that are equal.
    numbers: HashMap<Vec<u8>, u64>,
    /// In the order of insertion.
    pairs: BTreeMap<u64, (Value, Parcel)>,
    next: u64,
}

impl<K: Into<Value>, V: Into<Parcel>> FromIterator<(K, V)> for Dict {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut content = Content::default();
        for (key, value) in pairs {
            content.insert(key.into(), value.into());
        }
        Self(Mutex::new(content))
    }
}

impl Content {
    fn insert(&mut self, key: Value, value: Parcel) {
        let number = *self.numbers.entry(bytes(&key)).or_insert(self.next);
        if number == self.next {
            self.next += 1;
        }
        self.pairs.entry(number).and_modify(|pair| pair.1 = value.clone()).or_insert((key, value));
    }

    fn get(&self, key: &Value) -> Option<&Parcel> {
        self.pairs.get(self.numbers.get(&bytes(key))?).map(|(_, value)| value)
    }

    fn remove(&mut self, key: &Value) -> Option<Parcel> {
        let number = self.numbers.remove(&bytes(key))?;
        self.pairs.remove(&number).map(|(_, value)| value)
    }
}

fn bytes(key: &Value) -> Vec<u8> {
    // Only a text of more than 4 GiB has no encoding.
    normal(key).to_bytes().unwrap_or_default()
}

fn key(parcel: Parcel) -> Result<Value, Exception> {
    match parcel.into_value() {
        Ok(Value::Slice(_)) => Err(TypeError::new("unhashable type: 'slice'").into()),
        Ok(value) => Ok(value),
        Err(_) => Err(TypeError::new("the keys of this dict are plain values").into()),
    }
}

impl Dict {
    /// What is in it now, in the order of insertion.
    #[must_use]
    pub fn pairs(&self) -> Vec<(Value, Parcel)> {
        lock(&self.0).pairs.values().cloned().collect()
    }

    pub(super) fn show(&self, depth: usize) -> String {
        let show = |(key, value): &(Value, Parcel)| format!("{key}: {}", repr(value, depth));
        let shown: Vec<_> = self.pairs().iter().map(show).collect();
        format!("{{{}}}", shown.join(", "))
    }

    pub(super) fn is_equal(&self, other: &Self, depth: usize) -> bool {
        let (left, right) = (self.pairs(), other.pairs());
        left.len() == right.len()
            && left.iter().all(|(key, value)| {
                let other = lock(&other.0).get(key).cloned();
                other.is_some_and(|other| is_equal(value, &other, depth))
            })
    }
}

/// A dict.
#[object(class = "builtins.dict")]
impl Dict {
    #[service(len)]
    fn length(&self) -> usize {
        lock(&self.0).pairs.len()
    }

    #[service(get_item)]
    fn at(&self, name: Parcel) -> Result<Parcel, Exception> {
        let name = key(name)?;
        let found = lock(&self.0).get(&name).cloned();
        found.ok_or_else(|| KeyError::new(name).into())
    }

    #[service(set_item)]
    fn put(&self, name: Parcel, value: Parcel) -> Result<(), Exception> {
        let name = key(name)?;
        lock(&self.0).insert(name, value);
        Ok(())
    }

    #[service(del_item)]
    fn take(&self, name: Parcel) -> Result<(), Exception> {
        let name = key(name)?;
        let removed = lock(&self.0).remove(&name);
        removed.map(drop).ok_or_else(|| KeyError::new(name).into())
    }

    #[service(contains)]
    fn has(&self, name: Parcel) -> Result<bool, Exception> {
        let name = key(name)?;
        Ok(lock(&self.0).get(&name).is_some())
    }

    #[service(iter)]
    fn each(&self) -> Vec<Parcel> {
        self.pairs().into_iter().map(|(key, _)| key.into()).collect()
    }

    #[service(eq)]
    fn equals(&self, other: &Self) -> bool {
        self.is_equal(other, DEPTH)
    }

    #[service(repr)]
    fn shown(&self) -> String {
        self.show(DEPTH)
    }

    #[service(pickle)]
    fn pickled(&self, context: &Context) -> Local {
        context.this().clone()
    }

    /// The keys, as a list.
    fn keys(&self) -> Local {
        Local::new(self.pairs().into_iter().map(|(key, _)| key).collect::<List>())
    }

    /// The values, as a list.
    fn values(&self) -> Local {
        Local::new(self.pairs().into_iter().map(|(_, value)| value).collect::<List>())
    }

    /// The pairs of key and value, as a list.
    fn items(&self) -> Local {
        let pairs = self.pairs().into_iter();
        let pairs = pairs.map(|(key, value)| Parcel::tuple(vec![key.into(), value]));
        Local::new(pairs.collect::<List>())
    }

    /// Return the value for key if key is in the dictionary, else default.
    fn get(&self, name: Parcel, default: Option<Parcel>) -> Result<Parcel, Exception> {
        let name = key(name)?;
        let found = lock(&self.0).get(&name).cloned();
        Ok(found.or(default).unwrap_or(Parcel::NONE))
    }

    /// Remove specified key and return the corresponding value, or the default.
    fn pop(&self, name: Parcel, default: Option<Parcel>) -> Result<Parcel, Exception> {
        let name = key(name)?;
        let removed = lock(&self.0).remove(&name);
        removed.or(default).ok_or_else(|| KeyError::new(name).into())
    }

    /// Remove all items.
    fn clear(&self) {
        *lock(&self.0) = Content::default();
    }

    /// Return a shallow copy.
    fn copy(&self) -> Local {
        Local::new(self.pairs().into_iter().collect::<Self>())
    }
}
