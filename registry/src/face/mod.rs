//! The faces of the registry: thin shells around sockets.
//!
//! A face reads bytes and the clock, finds out who asks, and passes both to the
//! [`Dispatcher`](crate::Dispatcher). It decides nothing about the table. `reception` holds what
//! all faces need.

mod class;
mod reception;
pub(crate) mod tcp;
pub(crate) mod udp;

pub(crate) use reception::Reception;
