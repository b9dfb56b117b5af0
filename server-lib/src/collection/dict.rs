//! Dicts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use rpyc_client::{Args, Context, Exception, Local, Parcel, Value};

use super::compare::normal;
use super::content::{check_len, pairs};
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

pub(super) fn key(parcel: Parcel) -> Result<Value, Exception> {
    let unhashable = |class: &str| {
        let class = class.rsplit('.').next().unwrap_or(class);
        TypeError::new(format!("unhashable type: '{class}'"))
    };
    match parcel.into_value() {
        Ok(Value::Slice(_)) => Err(unhashable("slice").into()),
        Ok(value) => Ok(value),
        Err(object) => match object.type_name() {
            class @ ("builtins.list" | "builtins.dict" | "builtins.set") => {
                Err(unhashable(class).into())
            }
            _ => Err(TypeError::new("the keys of this dict are plain values").into()),
        },
    }
}

impl Dict {
    /// Its present content, in the order of insertion.
    #[must_use]
    pub fn pairs(&self) -> Vec<(Value, Parcel)> {
        lock(&self.0).pairs.values().cloned().collect()
    }

    pub(super) fn show(&self, depth: usize) -> String {
        let show = |(key, value): &(Value, Parcel)| format!("{key}: {}", repr(value, depth));
        let shown: Vec<_> = self.pairs().iter().map(show).collect();
        format!("{{{}}}", shown.join(", "))
    }

    fn fill(&self, pairs: Vec<(Value, Parcel)>) -> Result<(), Exception> {
        let mut content = lock(&self.0);
        check_len(content.pairs.len().saturating_add(pairs.len()))?;
        for (key, value) in pairs {
            content.insert(key, value);
        }
        Ok(())
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
        self.fill(vec![(key(name)?, value)])
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

    /// Remove and return the pair that was inserted last.
    fn popitem(&self) -> Result<Parcel, KeyError> {
        let mut content = lock(&self.0);
        let last = content.pairs.pop_last();
        let (_, (key, value)) =
            last.ok_or_else(|| KeyError::new("popitem(): dictionary is empty"))?;
        content.numbers.remove(&bytes(&key));
        Ok(Parcel::tuple(vec![key.into(), value]))
    }

    /// Insert key with a value of default if key is not in the dictionary; return its value.
    fn setdefault(&self, name: Parcel, default: Option<Parcel>) -> Result<Parcel, Exception> {
        let name = key(name)?;
        let found = lock(&self.0).get(&name).cloned();
        if let Some(found) = found {
            return Ok(found);
        }
        let default = default.unwrap_or(Parcel::NONE);
        self.fill(vec![(name, default.clone())])?;
        Ok(default)
    }

    /// Update from a dict or an iterable of pairs, and from keyword arguments.
    async fn update(&self, other: Option<Parcel>, more: Args) -> Result<(), Exception> {
        let (positional, keyword) = more.into_parts();
        if !positional.is_empty() {
            let given = positional.len() + 1;
            let message = format!("update expected at most 1 argument, got {given}");
            return Err(TypeError::new(message).into());
        }
        if let Some(other) = other {
            self.fill(pairs(other).await?)?;
        }
        self.fill(keyword.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    async fn __or__(&self, other: Parcel) -> Result<Local, Exception> {
        let merged = Self::from_iter(self.pairs());
        merged.fill(pairs(other).await?)?;
        Ok(Local::new(merged))
    }

    async fn __ior__(&self, context: &Context, other: Parcel) -> Result<Local, Exception> {
        self.fill(pairs(other).await?)?;
        Ok(context.this().clone())
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
