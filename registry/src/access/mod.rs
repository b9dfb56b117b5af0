//! Who may do what.
//!
//! A [`Principal`] is who asks, and how well that is proven. [`Access::decide`] is the one function
//! that decides whether a principal may do something to a name. It is pure.
//!
//! The table itself still decides what depends on its content: a host speaks for its own legacy
//! registrations only (`Directory::renew`, `Registry::register`, `Registry::unregister`), a host and
//! port of another native registrant is taken (`Registry::register_native`), and this machine may
//! register any number of instances (`Registry::check_room`).

mod cookie;
mod principal;
mod rules;

pub(crate) use cookie::Cookies;
pub(crate) use principal::{Principal, Proof};
pub(crate) use rules::Right;
pub use rules::{Access, Listing};
