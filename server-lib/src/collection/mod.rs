//! Lists and dicts that stay on this side, and are lists and dicts to Python.

mod compare;
mod content;
mod dict;
mod list;
mod slice;

use rpyc_client::Parcel;

pub use dict::Dict;
pub use list::List;

use compare::is_equal;

use crate::lock::lock;

/// How deep lists and dicts may be in each other when they are shown, compared or pickled. A
/// deeper one may well contain itself.
pub(crate) const DEPTH: usize = 64;

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
