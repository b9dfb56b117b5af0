//! What the attributes' code uses. No part of the interface.

use rpyc_client::{Args, Comparison, Context, Exception, Local, Method, Parcel};

pub use crate::pickle::pickle;
pub use crate::signature::{Bound, Parameter, Signature, convert};

use crate::Service;

/// The names of methods and of attributes.
#[must_use]
pub fn dir(methods: &[Method], attributes: &[&str]) -> Vec<String> {
    let methods = methods.iter().map(Method::name);
    let mut names: Vec<_> = methods.chain(attributes.iter().copied()).map(str::to_owned).collect();
    names.sort_unstable();
    names
}

/// A length, of whatever type of number.
///
/// # Errors
/// `ValueError` if it is negative.
pub fn len(len: impl TryInto<usize>) -> Result<usize, Exception> {
    len.try_into()
        .map_err(|_out_of_range| Exception::builtin("ValueError", "__len__() should return >= 0"))
}

/// An iterator: the value itself if it is an object, and one over its members if it is a tuple.
///
/// # Errors
/// What there was instead of a result; `TypeError` if it cannot be iterated over.
pub fn iterator(given: Result<Parcel, Exception>) -> Result<Parcel, Exception> {
    match given?.into_members() {
        Ok(members) => Ok(Local::iterator(members).into()),
        Err(object @ (Parcel::Local(_) | Parcel::Remote(_))) => Ok(object),
        Err(_) => Err(Exception::builtin("TypeError", "iter() returned non-iterator")),
    }
}

/// Whether it is the same object.
#[must_use]
pub fn identity(context: &Context, comparison: Comparison, other: &Parcel) -> Option<bool> {
    let is_same = matches!(other, Parcel::Local(other) if other.is_same(context.this()));
    match comparison {
        Comparison::Eq if is_same => Some(true),
        Comparison::Ne if is_same => Some(false),
        _ => None,
    }
}

/// The types that a hash method may return.
pub trait ToHash {
    /// The hash.
    fn to_hash(self) -> i64;
}

impl ToHash for i64 {
    fn to_hash(self) -> i64 {
        self
    }
}

impl ToHash for u64 {
    fn to_hash(self) -> i64 {
        self.cast_signed()
    }
}

/// `get_service_name`.
///
/// # Errors
/// `TypeError` if there are arguments.
pub fn service_name<S: Service>(args: Args) -> Result<Parcel, Exception> {
    const SIGNATURE: Signature =
        Signature { function: "Service.get_service_name", parameters: &[], takes_rest: false };
    SIGNATURE.bind(args)?;
    Ok(S::NAMES.first().copied().unwrap_or_default().into())
}

/// `get_service_aliases`.
///
/// # Errors
/// `TypeError` if there are arguments.
pub fn service_aliases<S: Service>(args: Args) -> Result<Parcel, Exception> {
    const SIGNATURE: Signature =
        Signature { function: "Service.get_service_aliases", parameters: &[], takes_rest: false };
    SIGNATURE.bind(args)?;
    Ok(Parcel::tuple(S::NAMES.iter().map(|name| (*name).into()).collect()))
}
