//! Rights: a [`Principal`] asks, and [`Access::decide`] decides.
//!
//! It is the only function that decides whether a principal may do something to a name, and it is
//! pure. The table still decides three rights that depend on its content:
//!
//! - A host changes only its own legacy registrations: `Directory::renew`, `Registry::register` and
//!   `Registry::unregister` look under the asker's address.
//! - A native registrant cannot take the host and port of another: `Registry::register_native`.
//! - A name that is held exclusively takes no other instance: `Registry::check_open`.
//! - This machine may register any number of instances: `Registry::check_room`.
//!
//! The limits of `admission` do not apply to this machine either.

mod announcing;
mod cookie;
mod principal;
mod rules;

pub(crate) use announcing::Announcing;
pub use announcing::{AddressGrant, AddressGrantError};
pub(crate) use cookie::Cookies;
pub(crate) use principal::{Principal, Proof};
pub(crate) use rules::Right;
pub use rules::{Access, Listing};
