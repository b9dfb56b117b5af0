//! The codec of the native protocol, JSON.

mod codec;
mod envelope;
mod lines;
mod refusal;
mod request;
mod watch;

pub(super) use envelope::Envelope;
pub(super) use lines::Lines;
pub(crate) use refusal::not_ready;
pub use watch::Watch;
