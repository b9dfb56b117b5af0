//! Numbers that nobody can guess.

use rpyc_protocol::registry::native::MAX_REQUEST_ID;

/// The number of a request to a registry.
pub(crate) fn request_id() -> u64 {
    getrandom::u64().expect("a system that runs programs has random numbers") & MAX_REQUEST_ID
}
