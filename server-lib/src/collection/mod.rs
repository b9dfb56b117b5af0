//! Lists and dicts that stay on this side, and are lists and dicts to Python.

mod compare;
mod dict;
mod list;

use std::sync::{Mutex, MutexGuard, PoisonError};

use rpyc_client::{Exception, Parcel};

pub use dict::Dict;
pub use list::List;

use crate::pickle;
use compare::is_equal;

/// How deep lists and dicts may be in each other when they are shown, compared or pickled. What is
/// deeper may well contain itself.
pub(crate) const DEPTH: usize = 64;

fn lock<T>(content: &Mutex<T>) -> MutexGuard<'_, T> {
    content.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What Python would show for it.
fn repr(parcel: &Parcel, depth: usize) -> String {
    let Some(depth) = depth.checked_sub(1) else { return "...".to_owned() };
    match parcel {
        Parcel::Value(value) => value.to_string(),
        Parcel::Tuple(members) => {
            let shown: Vec<_> = members.iter().map(|member| repr(member, depth)).collect();
            let comma = if shown.len() == 1 { "," } else { "" };
            format!("({}{comma})", shown.join(", "))
        }
        Parcel::Local(local) => {
            if let Some(list) = local.downcast_ref::<List>() {
                list.show(depth)
            } else if let Some(dict) = local.downcast_ref::<Dict>() {
                dict.show(depth)
            } else {
                "<object>".to_owned()
            }
        }
        Parcel::Remote(remote) => format!("<{} object of the client>", remote.class_name()),
    }
}

/// Appends it to a pickle, by value.
pub(crate) fn pickle_into(
    parcel: &Parcel,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), Exception> {
    let refuse = |what| Err(Exception::builtin("TypeError", format!("cannot pickle {what}")));
    let Some(depth) = depth.checked_sub(1) else { return refuse("what is nested so deep") };
    match parcel {
        Parcel::Value(value) => pickle::write(value, out),
        Parcel::Tuple(members) => {
            pickle::mark(out);
            for member in members {
                pickle_into(member, out, depth)?;
            }
            pickle::tuple(out);
            Ok(())
        }
        Parcel::Local(local) => {
            if let Some(list) = local.downcast_ref::<List>() {
                list.pickle_into(out, depth)
            } else if let Some(dict) = local.downcast_ref::<Dict>() {
                dict.pickle_into(out, depth)
            } else {
                refuse("an object")
            }
        }
        Parcel::Remote(_) => refuse("an object of the client"),
    }
}
