//! What the registry is asked to do, and what it answers.
//!
//! [`Dispatcher::perform`] takes a typed operation and gives a typed answer: it admits, decides by
//! [`Access`](crate::Access), reads or changes the table, and knows no protocol. The codecs `legacy`
//! (RPyC's brine) and `native` (JSON) stand around it, and [`Dispatcher::handle`] chooses between
//! them. An answer that must wait comes with a [`Deferred`].

mod deferred;
mod dispatcher;
mod legacy;
mod message;
mod native;
mod operation;
mod perform;
mod registration;
mod status;

pub use deferred::Deferred;
pub(crate) use dispatcher::CheckPlan;
pub use dispatcher::Dispatcher;
pub use message::Outcome;
pub use native::Watch;
pub(crate) use native::not_ready;
pub use registration::{MAX_ADDRESSES, MAX_KEY_BYTES};
