//! TCP: one legacy request a connection, or any number of native ones.

mod connection;
mod failure;
mod framing;
mod idle;
mod line;
mod listener;
mod watching;

pub use framing::{Frame, Framing};
pub(crate) use listener::{Connections, serve};
