//! The arguments of a call, bound to the parameters of a method as Python binds them.

use rpyc_client::{Args, CallError, Exception, Parcel};
use serde::de::DeserializeOwned;

/// A parameter of a method.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the attributes of the same version")]
pub struct Parameter {
    /// Its name for callers.
    pub name: &'static str,
    /// Whether it has no default.
    pub is_required: bool,
}

/// The parameters of a method.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the attributes of the same version")]
pub struct Signature {
    /// The method's name, with its class.
    pub function: &'static str,
    /// Its parameters, `self` apart.
    pub parameters: &'static [Parameter],
    /// Whether it takes any others as well, as `*args` and `**kwargs` do.
    pub takes_rest: bool,
}

/// Arguments, each in its place.
#[derive(Debug)]
pub struct Bound {
    signature: Signature,
    slots: Vec<Option<Parcel>>,
    rest: Args,
}

impl Signature {
    /// Puts each argument in its place.
    ///
    /// # Errors
    /// The `TypeError` that Python 3.11 raises for the same call of the same method.
    pub fn bind(self, args: Args) -> Result<Bound, Exception> {
        let (mut positional, keyword) = args.into_parts();
        let given = positional.len();
        let n_slots = self.parameters.len();
        let extra = positional.split_off(given.min(n_slots));
        let mut slots: Vec<_> = positional.into_iter().map(Some).collect();
        slots.resize_with(n_slots, || None);
        let taken = slots.len().min(given);
        let mut rest = Args::new();
        for (name, value) in keyword {
            let place = self.parameters.iter().position(|parameter| parameter.name == name);
            match place.and_then(|place| Some((place, slots.get_mut(place)?))) {
                // Of two with one name, Python's `dict` takes the last.
                Some((place, slot)) if place >= taken => *slot = Some(value),
                Some(_) => {
                    return Err(self.error(&format!("got multiple values for argument '{name}'")));
                }
                None if name == "self" => {
                    return Err(self.error("got multiple values for argument 'self'"));
                }
                None if self.takes_rest => rest = rest.kwarg(name, value),
                None => {
                    return Err(self.error(&format!("got an unexpected keyword argument '{name}'")));
                }
            }
        }
        if !extra.is_empty() && !self.takes_rest {
            return Err(self.too_many(given));
        }
        let missing: Vec<_> = self
            .parameters
            .iter()
            .zip(&slots)
            .filter(|(parameter, slot)| parameter.is_required && slot.is_none())
            .map(|(parameter, _)| parameter.name)
            .collect();
        if !missing.is_empty() {
            return Err(self.missing(&missing));
        }
        let rest = extra.into_iter().fold(Args::new(), Args::arg).and(rest);
        Ok(Bound { signature: self, slots, rest })
    }

    fn error(self, message: &str) -> Exception {
        Exception::builtin("TypeError", format!("{}() {message}", self.function))
    }

    /// Python counts `self`.
    fn too_many(self, given: usize) -> Exception {
        let most = self.parameters.len() + 1;
        let required = self.parameters.iter().filter(|parameter| parameter.is_required).count();
        let least = required + 1;
        let takes = match most {
            _ if least < most => format!("from {least} to {most} positional arguments"),
            1 => "1 positional argument".to_owned(),
            _ => format!("{most} positional arguments"),
        };
        self.error(&format!("takes {takes} but {} were given", given + 1))
    }

    fn missing(self, names: &[&str]) -> Exception {
        let quoted: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
        let list = match quoted.as_slice() {
            [first, second] => format!("{first} and {second}"),
            [first @ .., last] if !first.is_empty() => format!("{}, and {last}", first.join(", ")),
            all => all.concat(),
        };
        let plural = if names.len() == 1 { "" } else { "s" };
        let count = names.len();
        self.error(&format!("missing {count} required positional argument{plural}: {list}"))
    }
}

impl Bound {
    /// Takes a required argument out of its place.
    ///
    /// # Errors
    /// `TypeError` if it is of another type; whatever the peer raises while content is fetched.
    ///
    /// # Cancel safety
    /// Cancel safe; the argument is lost.
    pub async fn take<T: DeserializeOwned>(&mut self, place: usize) -> Result<T, Exception> {
        let value = self.slots.get_mut(place).and_then(Option::take).unwrap_or(Parcel::NONE);
        self.convert(place, value).await
    }

    /// Takes an argument out of its place, or its default.
    ///
    /// # Errors
    /// As [`Bound::take`].
    ///
    /// # Cancel safety
    /// As [`Bound::take`].
    pub async fn take_or<T: DeserializeOwned>(
        &mut self,
        place: usize,
        default: impl FnOnce() -> T,
    ) -> Result<T, Exception> {
        match self.slots.get_mut(place).and_then(Option::take) {
            Some(value) => self.convert(place, value).await,
            None => Ok(default()),
        }
    }

    /// What no parameter took.
    #[must_use]
    pub fn into_rest(self) -> Args {
        self.rest
    }

    async fn convert<T: DeserializeOwned>(
        &self,
        place: usize,
        value: Parcel,
    ) -> Result<T, Exception> {
        let name = self.signature.parameters.get(place).map_or("", |parameter| parameter.name);
        convert(value, self.signature.function, name).await
    }
}

/// Makes of an argument what the method takes. The content of a list or dict of the client's is
/// fetched if it is needed.
///
/// # Errors
/// `TypeError` if it is of another type, `OverflowError` if it is a number that does not fit;
/// whatever the peer raises while content is fetched.
///
/// # Cancel safety
/// Cancel safe; the argument is lost.
pub async fn convert<T: DeserializeOwned>(
    value: Parcel,
    function: &str,
    name: &str,
) -> Result<T, Exception> {
    let remote = match &value {
        Parcel::Remote(remote) => Some(remote.clone()),
        _ => None,
    };
    let error = match (value.parse(), remote) {
        (Err(error), Some(remote)) if error.is_by_reference() => match remote.fetch().await {
            Err(CallError::Result(error)) => error,
            fetched => return fetched.map_err(Exception::from),
        },
        (Err(error), _) => error,
        (Ok(value), _) => return Ok(value),
    };
    let mut exception = Exception::from(error);
    let message = exception.message().unwrap_or_default();
    exception.args = vec![format!("{function}() argument '{name}': {message}").into()];
    Err(exception)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn required(name: &'static str) -> Parameter {
        Parameter { name, is_required: true }
    }

    const fn optional(name: &'static str) -> Parameter {
        Parameter { name, is_required: false }
    }

    fn check(
        parameters: &'static [Parameter],
        positional: usize,
        keyword: &[&str],
        expected: Result<&[Option<i64>], &str>,
    ) {
        let signature = Signature { function: "C.f", parameters, takes_rest: false };
        let args = (0..).take(positional).fold(Args::new(), |args, value: i64| args.arg(value));
        let args = (100..)
            .zip(keyword)
            .fold(args, |args, (value, name): (i64, _)| args.kwarg(*name, value));
        let bound = signature.bind(args).map(|bound| {
            let slots = bound.slots.into_iter();
            slots.map(|slot| slot.map(|value| value.parse().unwrap())).collect::<Vec<_>>()
        });
        let bound = bound.map_err(|error| error.message().unwrap().to_owned());
        assert_eq!(bound.as_deref().map_err(|error| &**error), expected);
    }

    /// Each message was taken from CPython 3.11.
    #[test]
    fn arguments_are_bound_as_python_binds_them() {
        const AB: &[Parameter] = &[required("a"), optional("b")];
        const ABC: &[Parameter] = &[required("a"), required("b"), required("c")];
        check(AB, 1, &[], Ok(&[Some(0), None]));
        check(AB, 1, &["b"], Ok(&[Some(0), Some(100)]));
        check(AB, 0, &["b", "a"], Ok(&[Some(101), Some(100)]));
        check(AB, 0, &["a", "a"], Ok(&[Some(101), None]));
        check(AB, 0, &[], Err("C.f() missing 1 required positional argument: 'a'"));
        check(ABC, 0, &["b"], Err("C.f() missing 2 required positional arguments: 'a' and 'c'"));
        check(ABC, 0, &[], Err("C.f() missing 3 required positional arguments: 'a', 'b', and 'c'"));
        check(AB, 3, &[], Err("C.f() takes from 2 to 3 positional arguments but 4 were given"));
        check(ABC, 4, &[], Err("C.f() takes 4 positional arguments but 5 were given"));
        check(&[], 1, &[], Err("C.f() takes 1 positional argument but 2 were given"));
        check(AB, 1, &["x"], Err("C.f() got an unexpected keyword argument 'x'"));
        check(AB, 1, &["a"], Err("C.f() got multiple values for argument 'a'"));
        check(AB, 1, &["self"], Err("C.f() got multiple values for argument 'self'"));
        check(AB, 9, &["x"], Err("C.f() got an unexpected keyword argument 'x'"));
    }
}
