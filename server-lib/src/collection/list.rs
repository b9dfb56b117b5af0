//! Lists.

use std::sync::Mutex;

use rpyc_client::{Context, Exception, Local, Parcel, Value};

use super::{DEPTH, is_equal, lock, repr};
use crate::builtins::{IndexError, TypeError, ValueError};
use crate::object;

/// A list that stays on this side: to Python, a `list`, by reference.
///
/// Clients can index, slice, iterate over and change it, and `rpyc.classic.obtain` copies it.
/// A list that need not change is better returned as a `Vec`, which arrives as a tuple, by value.
///
/// ```
/// use rpyc_server::{Dict, List, Local, Parcel};
///
/// let dict = Local::new(Dict::from_iter([("three", 3)]));
/// let list = Local::new(List::from_iter([Parcel::from(1), "two".into(), dict.into()]));
/// ```
#[derive(Debug, Default)]
pub struct List(Mutex<Vec<Parcel>>);

impl<T: Into<Parcel>> FromIterator<T> for List {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self(Mutex::new(items.into_iter().map(Into::into).collect()))
    }
}

impl List {
    /// What is in it now.
    #[must_use]
    pub fn items(&self) -> Vec<Parcel> {
        lock(&self.0).clone()
    }

    pub(super) fn show(&self, depth: usize) -> String {
        let shown: Vec<_> = self.items().iter().map(|item| repr(item, depth)).collect();
        format!("[{}]", shown.join(", "))
    }

    pub(super) fn is_equal(&self, other: &Self, depth: usize) -> bool {
        let (left, right) = (self.items(), other.items());
        left.len() == right.len()
            && left.iter().zip(&right).all(|(left, right)| is_equal(left, right, depth))
    }

    fn position(&self, value: &Parcel) -> Option<usize> {
        // Compared without the lock, as the list may be in itself.
        self.items().iter().position(|item| is_equal(item, value, DEPTH))
    }
}

/// A list.
#[object(class = "builtins.list")]
impl List {
    #[service(len)]
    fn length(&self) -> usize {
        lock(&self.0).len()
    }

    #[service(get_item)]
    fn at(&self, key: Parcel) -> Result<Parcel, Exception> {
        let items = lock(&self.0);
        match &key {
            Parcel::Value(Value::Slice(parts)) => {
                let places = places(parts, items.len())?;
                let chosen = places.into_iter().filter_map(|place| items.get(place).cloned());
                Ok(Local::new(chosen.collect::<Self>()).into())
            }
            _ => {
                let place = place(&key, items.len(), "list index out of range")?;
                Ok(items.get(place).cloned().unwrap_or(Parcel::NONE))
            }
        }
    }

    #[service(set_item)]
    fn put(&self, key: Parcel, value: Parcel) -> Result<(), Exception> {
        let mut items = lock(&self.0);
        let place = place(&key, items.len(), "list assignment index out of range")?;
        if let Some(slot) = items.get_mut(place) {
            *slot = value;
        }
        Ok(())
    }

    #[service(del_item)]
    fn take(&self, key: Parcel) -> Result<(), Exception> {
        let mut items = lock(&self.0);
        let place = place(&key, items.len(), "list assignment index out of range")?;
        items.remove(place);
        Ok(())
    }

    #[service(contains)]
    fn has(&self, value: Parcel) -> bool {
        self.position(&value).is_some()
    }

    #[service(iter)]
    fn each(&self) -> Vec<Parcel> {
        self.items()
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

    /// Append object to the end of the list.
    fn append(&self, object: Parcel) {
        lock(&self.0).push(object);
    }

    /// Extend list by appending elements from the iterable.
    fn extend(&self, iterable: Vec<Parcel>) {
        lock(&self.0).extend(iterable);
    }

    /// Insert object before index.
    fn insert(&self, index: i64, object: Parcel) {
        let mut items = lock(&self.0);
        let place = clamp(index, items.len());
        items.insert(place, object);
    }

    /// Remove and return item at index (default last).
    fn pop(&self, #[service(default = -1)] index: i64) -> Result<Parcel, Exception> {
        let mut items = lock(&self.0);
        if items.is_empty() {
            return Err(IndexError::new("pop from empty list").into());
        }
        let place = place(&index.into(), items.len(), "pop index out of range")?;
        Ok(items.remove(place))
    }

    /// Remove first occurrence of value.
    fn remove(&self, value: Parcel) -> Result<(), ValueError> {
        let place = self.position(&value);
        let place = place.ok_or_else(|| ValueError::new("list.remove(x): x not in list"))?;
        let mut items = lock(&self.0);
        if place < items.len() {
            items.remove(place);
        }
        Ok(())
    }

    /// Return first index of value.
    fn index(&self, value: Parcel) -> Result<usize, ValueError> {
        self.position(&value)
            .ok_or_else(|| ValueError::new(format!("{} is not in list", repr(&value, DEPTH))))
    }

    /// Return number of occurrences of value.
    fn count(&self, value: Parcel) -> usize {
        self.items().iter().filter(|item| is_equal(item, &value, DEPTH)).count()
    }

    /// Remove all items from list.
    fn clear(&self) {
        lock(&self.0).clear();
    }

    /// Reverse in place.
    fn reverse(&self) {
        lock(&self.0).reverse();
    }

    /// Return a shallow copy of the list.
    fn copy(&self) -> Local {
        Local::new(Self::from_iter(self.items()))
    }
}

/// The place that an index names.
fn place(key: &Parcel, len: usize, message: &'static str) -> Result<usize, Exception> {
    let index = match key {
        Parcel::Value(Value::Int(index)) => index.to_i64(),
        Parcel::Value(Value::Bool(index)) => Some(i64::from(*index)),
        _ => return Err(TypeError::new("list indices must be integers or slices").into()),
    };
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let place = index.map(|index| if index < 0 { index.saturating_add(len) } else { index });
    place
        .filter(|place| (0..len).contains(place))
        .and_then(|place| usize::try_from(place).ok())
        .ok_or_else(|| IndexError::new(message).into())
}

/// The end of a slice, counted from the end of the list if it is negative.
fn clamp(index: i64, len: usize) -> usize {
    let signed = i64::try_from(len).unwrap_or(i64::MAX);
    let place = if index < 0 { index.saturating_add(signed) } else { index };
    usize::try_from(place.clamp(0, signed)).unwrap_or(len)
}

/// The places that a slice names, in its order.
fn places(parts: &[Value; 3], len: usize) -> Result<Vec<usize>, Exception> {
    let number = |part: &Value| match part {
        Value::None => Ok(None),
        Value::Int(int) => Ok(Some(int.to_i64().unwrap_or(i64::MAX))),
        _ => Err(TypeError::new("slice indices must be integers or None")),
    };
    let [start, stop, step] = parts;
    let (start, stop, step) = (number(start)?, number(stop)?, number(step)?.unwrap_or(1));
    if step == 0 {
        return Err(ValueError::new("slice step cannot be zero").into());
    }
    let end = |end: Option<i64>, default| end.map_or(default, |end| clamp(end, len));
    let step_len = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
    if step > 0 {
        let (start, stop) = (end(start, 0), end(stop, len));
        return Ok((start..stop.max(start)).step_by(step_len).collect());
    }
    // Downwards, from the place itself to the one after `stop`.
    let below = |end: i64| {
        let signed = i64::try_from(len).unwrap_or(i64::MAX);
        let place = if end < 0 { end.saturating_add(signed) } else { end };
        usize::try_from(place.saturating_add(1).clamp(0, signed)).unwrap_or(len)
    };
    let (first, last) = (start.map_or(len, below), stop.map_or(0, below));
    Ok((last..first.max(last)).rev().step_by(step_len).collect())
}
