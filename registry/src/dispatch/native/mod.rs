//! The codec of the native protocol, JSON.

mod codec;
mod envelope;
mod notification_cache;
mod refusal;
mod request;
mod watch;

pub(super) use envelope::Envelope;
pub(super) use notification_cache::NotificationCache;
pub(crate) use refusal::not_ready;
pub use watch::Watch;
