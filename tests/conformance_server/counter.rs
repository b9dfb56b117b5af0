//! The object that the service returns by reference.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rpyc_server::builtins::{IndexError, OverflowError, TypeError, ValueError};
use rpyc_server::{Context, Exception, Local, Parcel, object};

use crate::number::{Number, cannot_add};

/// A number that counts.
pub(super) struct Counter {
    value: Mutex<Number>,
    /// The number of live counters.
    live: Arc<AtomicUsize>,
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counter {
    pub(super) fn new(start: Number, live: Arc<AtomicUsize>) -> Self {
        live.fetch_add(1, Ordering::Relaxed);
        Self { value: Mutex::new(start), live }
    }

    fn now(&self) -> Number {
        self.value.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, by: &Number) -> Result<Number, Exception> {
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        *value = value.plus(by)?;
        Ok(value.clone())
    }
}

/// A number that counts.
#[object(class = "conformance.Counter")]
impl Counter {
    /// Adds to the value and gives the new one.
    fn inc(&self, #[service(default = 1.into())] by: Parcel) -> Result<Parcel, Exception> {
        match Number::of(&by) {
            Some(by) => Ok(self.add(&by)?.into()),
            None => Err(cannot_add("+=", self.now().type_name(), by.type_name()).into()),
        }
    }

    #[service(get)]
    fn value(&self) -> Parcel {
        self.now().into()
    }

    #[service(set)]
    fn set_value(&self, value: Parcel) -> Result<(), Exception> {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Number::wanted(&value)?;
        Ok(())
    }

    fn __len__(&self) -> Result<usize, Exception> {
        let value = self.now();
        let value = value.whole()?;
        if value.sign() == num_bigint::Sign::Minus {
            return Err(ValueError::new("__len__() should return >= 0").into());
        }
        let is_length = |len: &usize| isize::try_from(*len).is_ok();
        usize::try_from(value).ok().filter(is_length).ok_or_else(|| {
            OverflowError::new("cannot fit 'int' into an index-sized integer").into()
        })
    }

    fn __getitem__(&self, index: Parcel) -> Result<Parcel, Exception> {
        let Some(number) = Number::of(&index) else {
            let found = index.type_name();
            let message = format!("'<=' not supported between instances of 'int' and '{found}'");
            return Err(TypeError::new(message).into());
        };
        if number.is_below(&self.now()) {
            return Ok(index);
        }
        Err(IndexError::new("counter index out of range").into())
    }

    fn __iter__(&self) -> Result<Local, Exception> {
        Ok(Local::iterator(0..self.now().end()?))
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.now() == other.now()
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        match (self.now().as_int(), self.now()) {
            (Some(int), _) => int.hash(&mut hasher),
            (None, number) => number.to_string().hash(&mut hasher),
        }
        hasher.finish()
    }

    fn __str__(&self) -> String {
        format!("counter at {}", self.now())
    }

    fn __repr__(&self) -> String {
        format!("Counter({})", self.now())
    }

    fn __enter__(&self, context: &Context) -> Result<Local, Exception> {
        self.add(&Number::Int(100.into()))?;
        Ok(context.this().clone())
    }

    fn __exit__(&self) -> Result<bool, Exception> {
        self.add(&Number::Int((-100).into()))?;
        Ok(false)
    }
}
