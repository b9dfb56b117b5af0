//! Lists.

use std::sync::Mutex;

use rpyc_client::{Context, Exception, Local, Parcel, Value};

use super::compare::Order;
use super::content::{check_len, items};
use super::slice::{Indices, clamp, place};
use super::{DEPTH, is_equal, lock, repr};
use crate::builtins::{IndexError, OverflowError, TypeError, ValueError};
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
    /// Its present content.
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

    fn is_in_order(&self, other: &Self, wanted: Order) -> Result<bool, Exception> {
        wanted.holds(&self.items(), &other.items())
    }

    fn put_slice(&self, parts: &[Value; 3], values: Vec<Parcel>) -> Result<(), Exception> {
        let mut items = lock(&self.0);
        match Indices::of(parts, items.len())? {
            Indices::Run(start, stop) => {
                check_len((items.len() - (stop - start)).saturating_add(values.len()))?;
                items.splice(start..stop, values);
            }
            Indices::Each(places) if places.len() == values.len() => {
                for (place, value) in places.into_iter().zip(values) {
                    if let Some(slot) = items.get_mut(place) {
                        *slot = value;
                    }
                }
            }
            Indices::Each(places) => {
                let (given, wanted) = (values.len(), places.len());
                let message = format!(
                    "attempt to assign sequence of size {given} to extended slice of size {wanted}"
                );
                return Err(ValueError::new(message).into());
            }
        }
        Ok(())
    }

    fn repeated(&self, times: &Parcel) -> Result<Vec<Parcel>, Exception> {
        let times = match times {
            Parcel::Value(Value::Int(times)) => times.to_i64(),
            Parcel::Value(Value::Bool(times)) => Some(i64::from(*times)),
            other => {
                let found = other.type_name();
                let message = format!("'{found}' object cannot be interpreted as an integer");
                return Err(TypeError::new(message).into());
            }
        };
        let times = times
            .ok_or_else(|| OverflowError::new("cannot fit 'int' into an index-sized integer"))?;
        let items = self.items();
        let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
        check_len(items.len().saturating_mul(times))?;
        Ok(items.iter().cycle().take(items.len() * times).cloned().collect())
    }
}

/// The name of a class without its module's.
fn short(class: &str) -> &str {
    class.rsplit('.').next().unwrap_or(class)
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
                let places = Indices::of(parts, items.len())?.into_vec();
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
    async fn put(&self, key: Parcel, value: Parcel) -> Result<(), Exception> {
        if let Parcel::Value(Value::Slice(parts)) = &key {
            let values = items(value, "can only assign an iterable").await?;
            return self.put_slice(parts, values);
        }
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
        let mut places = match &key {
            Parcel::Value(Value::Slice(parts)) => Indices::of(parts, items.len())?.into_vec(),
            _ => vec![place(&key, items.len(), "list assignment index out of range")?],
        };
        places.sort_unstable();
        let mut places = places.into_iter().peekable();
        let mut at = 0..;
        items.retain(|_| places.next_if_eq(&at.next().unwrap_or_default()).is_none());
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

    #[service(lt)]
    fn is_less(&self, other: &Self) -> Result<bool, Exception> {
        self.is_in_order(other, Order::Lt)
    }

    #[service(le)]
    fn is_not_more(&self, other: &Self) -> Result<bool, Exception> {
        self.is_in_order(other, Order::Le)
    }

    #[service(gt)]
    fn is_more(&self, other: &Self) -> Result<bool, Exception> {
        self.is_in_order(other, Order::Gt)
    }

    #[service(ge)]
    fn is_not_less(&self, other: &Self) -> Result<bool, Exception> {
        self.is_in_order(other, Order::Ge)
    }

    fn __add__(&self, other: Parcel) -> Result<Local, Exception> {
        let list = match &other {
            Parcel::Local(local) => local.downcast_ref::<Self>(),
            _ => None,
        };
        let Some(list) = list else {
            let found = other.type_name();
            let found = if matches!(other, Parcel::Local(_)) { short(found) } else { found };
            let message = format!("can only concatenate list (not \"{found}\") to list");
            return Err(TypeError::new(message).into());
        };
        let (left, right) = (self.items(), list.items());
        check_len(left.len().saturating_add(right.len()))?;
        Ok(Local::new(left.into_iter().chain(right).collect::<Self>()))
    }

    async fn __iadd__(&self, context: &Context, other: Parcel) -> Result<Local, Exception> {
        self.extend(other).await?;
        Ok(context.this().clone())
    }

    fn __mul__(&self, times: Parcel) -> Result<Local, Exception> {
        Ok(Local::new(Self::from_iter(self.repeated(&times)?)))
    }

    fn __rmul__(&self, times: Parcel) -> Result<Local, Exception> {
        self.__mul__(times)
    }

    fn __imul__(&self, context: &Context, times: Parcel) -> Result<Local, Exception> {
        let repeated = self.repeated(&times)?;
        *lock(&self.0) = repeated;
        Ok(context.this().clone())
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
    fn append(&self, object: Parcel) -> Result<(), Exception> {
        let mut items = lock(&self.0);
        check_len(items.len() + 1)?;
        items.push(object);
        Ok(())
    }

    /// Extend list by appending elements from the iterable.
    async fn extend(&self, iterable: Parcel) -> Result<(), Exception> {
        let refusal = format!("'{}' object is not iterable", short(iterable.type_name()));
        let more = items(iterable, &refusal).await?;
        let mut items = lock(&self.0);
        check_len(items.len().saturating_add(more.len()))?;
        items.extend(more);
        Ok(())
    }

    /// Insert object before index.
    fn insert(&self, index: i64, object: Parcel) -> Result<(), Exception> {
        let mut items = lock(&self.0);
        check_len(items.len() + 1)?;
        let place = clamp(index, items.len());
        items.insert(place, object);
        Ok(())
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
    fn index(
        &self,
        value: Parcel,
        #[service(default)] start: i64,
        #[service(default = i64::MAX)] stop: i64,
    ) -> Result<usize, ValueError> {
        let items = self.items();
        let (start, stop) = (clamp(start, items.len()), clamp(stop, items.len()));
        let mut within = items.iter().enumerate().take(stop).skip(start);
        within
            .find(|(_, item)| is_equal(item, &value, DEPTH))
            .map(|(place, _)| place)
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
