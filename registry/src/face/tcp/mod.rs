//! TCP: one legacy request a connection, or any number of native ones.

mod arrival_order;
mod connection;
mod failure;
mod framing;
mod idle;
mod listener;
mod watching;

pub use framing::{Frame, Framing};
pub(crate) use listener::{Connections, serve};
