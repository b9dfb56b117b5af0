//! Find and use RPyC services by name.
//!
//! RPyC's servers register their names with a registry, and its clients ask the registry for
//! them. This crate does both, with this project's registry and with RPyC's own; and it speaks RPyC
//! with what it finds, in Python or in Rust.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use rpyc_client::{connect_by_service, kwargs};
//!
//! let payroll = connect_by_service("payroll").await?.root().await?;
//! let pay: f64 =
//!     payroll.call("get_salary", kwargs! { last: "Mertz", first: "David" }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A call is one round trip, and its result whatever type is asked for. Objects that cannot be
//! copied stay where they are, and a [`RemoteObject`] leads to them. Functions and objects of this
//! program can be passed as arguments, and are called back while it does something else.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use rpyc_client::{Local, RemoteObject, args, connect};
//!
//! let service = connect("stock.example:18861").await?.root().await?;
//!
//! // A list by reference; its items come when they are asked for, many at a time.
//! let orders: RemoteObject = service.call("orders", ()).await?;
//! println!("{} orders, the first is {}", orders.len().await?, orders.item::<String>(0).await?);
//! // The same by value.
//! let orders: Vec<String> = service.call("orders", ()).await?;
//!
//! // A callback.
//! let notify = Local::sync_function(|args| {
//!     let (order,): (String,) = args.parse()?;
//!     println!("new: {order}");
//!     Ok(())
//! });
//! service.call::<()>("on_order", args![notify]).await?;
//!
//! // What the service raises is an error.
//! match service.call::<f64>("price", args!["unobtainium"]).await {
//!     Ok(price) => println!("{price}"),
//!     Err(error) if error.is("KeyError") => println!("not in stock"),
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | What | With |
//! |---|---|
//! | which registries are asked: the environment's, those nearby, or a list | [`Registries`], [`RegistryAddr`] |
//! | the servers of a name, all names, registration ages | [`Registrar`] |
//! | what only this project's registry knows: leases, states, changes, its status | [`Registrar::native`], [`native`] |
//! | the same kept fresh and remembered, and a choice among the servers | [`Resolver`], [`LoadBalancing`] |
//! | that a name is served here | [`Registrar::register`]; to stay registered, the announcer of `rpyc-server` |
//! | a connection to a server, by name or by address | [`connect_by_service`], [`connect`] |
//! | one with options, or over any stream | [`Connection`], [`ConnectionBuilder`] |
//! | one that comes back when it is lost | [`Reconnecting`] |
//! | the objects of the peer | [`RemoteObject`], [`Items`] |
//! | a call, and one that is under way | [`Call`], [`PendingCall`] |
//! | arguments and results | [`args!`], [`kwargs!`], [`Parcel`] |
//! | what this side offers, callbacks included | [`Local`], [`Object`] |
//! | the two sides of a connection | [`Context`], [`Peer`] |
//! | a whole remote Python | [`classic`] |
//! | the same without async | [`blocking`] |
//! | errors | [`LookupError`], [`RegisterError`], [`ConnectError`], [`CallError`] |
//! | parts that are rarely needed by name | [`protocol`], [`pickle`] |
//!
//! Everything needs a tokio runtime, but for [`blocking`], which has its own. Only a [`Connection`]
//! and a [`PendingCall`] start tasks, which end when these are dropped.
//!
//! The module `_examples` of the documentation shows whole programs.
//!
//! # Features
//! `tls` (off by default): connections over TLS, with `Tls`, `Fingerprint` and the certificate of a
//! [`Peer`].

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(all(doc, not(doctest)))]
pub mod _examples;
mod address;
pub mod blocking;
pub mod classic;
mod connect;
mod connection;
mod error;
mod local;
mod lock;
pub mod native;
mod net;
mod parcel;
pub mod pickle;
mod random;
mod reconnect;
mod registrar;
mod remote;
pub mod resolver;
#[cfg(test)]
mod scripted;
#[cfg(feature = "tls")]
mod tls;

pub use address::{REGISTRY_VARIABLE, Registries, RegistryAddr, RegistryAddrError, Transport};
pub use connect::{Credentials, Finder, Peer, ServiceStream, Socket, open_by_service};
pub use connection::{
    Call, Connection, ConnectionBuilder, ConnectionId, DEFAULT_TIMEOUT, DIALECT_VARIABLE, Driver,
    FirstMessage, MemoryBudget, Opening, PendingCall, connect, connect_by_service,
};
pub use error::{
    Attempt, Attempts, CallError, ConnectError, ConvertError, Disconnect, Fault, LookupError,
    RegisterError, RequestError, TooMany, Unreached,
};
pub use local::{Context, Local, Method, Object, denied};
pub use parcel::{Args, IntoArgs, Parcel};
pub use reconnect::{ReconnectError, Reconnecting, ReconnectingCall};
pub use registrar::{Acknowledgement, Instance, Registrar, RegistrarBuilder, Service, Snapshot};
pub use remote::{Items, RemoteObject};
pub use resolver::{LoadBalancing, Resolved, Resolver, ResolverBuilder};
/// The wire formats, without I/O: they appear in the details of errors.
pub use rpyc_protocol as protocol;
pub use rpyc_protocol::brine::{Int, Value};
pub use rpyc_protocol::registry::Port;
pub use rpyc_protocol::registry::reply::Endpoint;
pub use rpyc_protocol::rpc::{
    CloseReason, Comparison, Dialect, DialectError, Exception, ExportError, Refusal, SessionLimits,
    Stats, Unsendable, Version,
};
pub use rpyc_protocol::{NameError, ServiceName};
#[cfg(feature = "tls")]
#[doc(hidden)]
pub use tls::certificates as __certificates;
#[cfg(feature = "tls")]
pub use tls::{Fingerprint, Tls, TlsError};

/// The example of README.md compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
