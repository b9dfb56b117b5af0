//! From a name or an address to an open stream.

mod dial;
mod finder;
mod open;
mod peer;
mod stream;
mod trial;

pub(crate) use dial::dial;
pub use finder::Finder;
pub use open::open_by_service;
pub use peer::{Credentials, Peer};
pub use stream::{ServiceStream, Socket};
pub(crate) use trial::open_one;
