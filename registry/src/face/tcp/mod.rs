//! TCP: one legacy request a connection, or any number of native ones. The unix socket for
//! operators speaks the same.

mod arrival_order;
mod connection;
mod failure;
mod framing;
mod idle;
mod listener;
#[cfg(unix)]
mod operators;
mod watching;

pub use framing::{Frame, Framing};
pub(crate) use listener::{Connections, serve};
#[cfg(unix)]
pub(crate) use operators::{serve_operators, serve_operators_later};
