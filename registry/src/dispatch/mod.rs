//! Operations on the registry, and the codecs of its two protocols.
//!
//! [`Dispatcher::perform`] takes a typed operation and returns a typed answer: it applies the rate
//! limits and [`Access`](crate::Access), and reads or changes the table. It knows no protocol. The
//! codecs `legacy` (RPyC's brine) and `native` (JSON) translate, and [`Dispatcher::handle`] selects
//! one by the first byte. An answer that must wait comes with a [`Deferred`].

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
pub use legacy::LegacyAnswers;
pub use message::Outcome;
pub use native::Watch;
pub(crate) use native::not_ready;
pub use registration::{MAX_ADDRESSES, MAX_KEY_BYTES};
