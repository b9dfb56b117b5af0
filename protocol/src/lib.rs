//! The wire formats that RPyC programs speak, as plain functions between bytes and values.
//!
//! RPyC lets Python programs use each other's objects across machines; this crate is what a
//! program in Rust needs to take part. It performs no I/O, reads no clock and starts no task:
//! bytes, limits and time come in as arguments, values and bytes go out.
//!
//! | Module | Contents |
//! |---|---|
//! | [`brine`] | the value encoding: `None`, numbers, text, tuples, ... and their bytes |
//! | [`registry`] | what servers and clients say to a registry, in brine and in JSON |
//! | [`rpc`] | what two programs that use each other's objects say to one another |
//! | [`Limits`] | the named bounds that every decoder obeys |
//! | [`ServiceName`] | the name of a service, folded to upper case as RPyC does |
//!
//! ```
//! use rpyc_protocol::{Limits, registry::Request};
//!
//! // What rpyc 6.0.2 sends for `discover("foo")`.
//! let datagram = b"\x12\x08\x0d\x52\x50\x59\x43\x08\x0e\x05\x51\x55\x45\x52\x59\x10\x08\x0c\x66\x6f\x6f";
//! let request = Request::decode(datagram, &Limits::REQUEST)?;
//! assert!(matches!(request, Request::Query { name: "foo" }));
//! # Ok::<(), rpyc_protocol::registry::RequestError>(())
//! ```

pub mod brine;
mod limits;
mod name;
mod reader;
pub mod registry;
pub mod rpc;

pub use limits::Limits;
pub use name::{FoldedName, NameError, ServiceName};

/// The example of README.md compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
