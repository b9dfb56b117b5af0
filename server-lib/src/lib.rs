//! Serve RPyC services, and be found.
//!
//! An attribute on an `impl` block makes a service of it, and a [`Server`] serves it to clients in
//! Python and in Rust, announces it, and ends tidily.
//!
//! ```no_run
//! use rpyc_server::builtins::KeyError;
//! use rpyc_server::{Server, service, shutdown_signal};
//!
//! struct Payroll;
//!
//! #[service(name = "PAYROLL", aliases("WAGES"))]
//! impl Payroll {
//!     /// Monthly salary in euros.
//!     async fn get_salary(&self, last: String, first: String) -> Result<f64, KeyError> {
//!         match (&*last, &*first) {
//!             ("Mertz", "David") => Ok(4200.0),
//!             _ => Err(KeyError::new(format!("{first} {last}"))),
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! Server::builder(Payroll).bind("0.0.0.0:0").register().serve(shutdown_signal()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! | For | there is |
//! |---|---|
//! | a service, or an object that one gives away | [`macro@service`], [`macro@object`] |
//! | what they implement | [`Service`], [`Object`] |
//! | lists and dicts by reference | [`List`], [`Dict`] |
//! | functions, iterators | [`Local`] |
//! | exceptions | [`trait@IntoException`] and its [derivation](derive@IntoException), [`builtins`], [`Exception`] |
//! | a server, what ends it, and who connects to it | [`Server`], [`shutdown_signal`], [`Peer`] |
//! | an announcement without a server | [`Announcer`] |
//!
//! Clients are of any version of RPyC since 4.1, or use `rpyc-client`. A service may call them
//! back: a [`RemoteObject`] among the arguments is theirs, and [`Connection::root`] of the
//! `&Connection` that a method may take is what they serve.
//!
//! The module `_examples` of the documentation shows whole programs.
//!
//! # Features
//! `tls` (off by default): serving over TLS, with `ServerTls` and the certificates of clients.

#![cfg_attr(docsrs, feature(doc_cfg))]

// The attributes' code names this crate by its name, also in here.
extern crate self as rpyc_server;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
#[cfg(all(doc, not(doctest)))]
pub mod _examples;
pub mod announcer;
mod collection;
mod exception;
mod lock;
mod pickle;
mod server;
mod service;
mod shutdown;
mod signature;
#[cfg(feature = "tls")]
mod tls;

pub use announcer::{Advertised, Announcer, AnnouncerBuilder, AnnouncerHandle};
pub use collection::{Dict, List};
pub use exception::{IntoException, builtins};
/// The client library of the same version, which a service uses to call others.
pub use rpyc_client as client;
pub use rpyc_client::{
    Acknowledgement, Args, CallError, Comparison, Connection, Context, ConvertError, Credentials,
    Exception, Int, Local, MemoryBudget, Method, Object, Parcel, Peer, Port, RegisterError,
    Registries, RegistryAddr, RegistryAddrError, RemoteObject, ServiceName, SessionLimits, Value,
    args, denied, kwargs,
};
/// Makes a service of a type: implements [`Object`] and [`Service`] for it.
///
/// It goes on an `impl` block, whose methods that take `&self` can then be called by clients. Those
/// whose names begin with an underscore, and those in other blocks, cannot.
///
/// ```
/// use std::sync::atomic::{AtomicI64, Ordering};
///
/// use rpyc_server::builtins::ValueError;
/// use rpyc_server::{Context, Exception, Local, Parcel, args, object, service};
///
/// struct Bank;
///
/// /// This is the service's documentation.
/// #[service(name = "BANK", aliases("SAVINGS"))]
/// impl Bank {
///     /// Methods may be async. This is what `help()` shows.
///     async fn transfer(&self, amount: f64, #[service(default = "EUR".to_owned())] currency: String) {}
///
///     /// What fails raises an exception. Objects are given by reference.
///     fn open(&self, start: Option<i64>) -> Result<Local, ValueError> {
///         match start.unwrap_or_default() {
///             start @ 0.. => Ok(Local::new(Account(start.into()))),
///             _ => Err(ValueError::new("no debts")),
///         }
///     }
///
///     /// The client's functions can be called.
///     async fn notify(&self, context: &Context, listener: Parcel) -> Result<(), Exception> {
///         context.call(&listener, args!["welcome"]).await.map(drop)
///     }
///
///     #[service(skip)]
///     fn audit(&self) {}
/// }
///
/// struct Account(AtomicI64);
///
/// #[object]
/// impl Account {
///     #[service(get)]
///     fn balance(&self) -> i64 {
///         self.0.load(Ordering::Relaxed)
///     }
///
///     #[service(set)]
///     fn set_balance(&self, value: i64) {
///         self.0.store(value, Ordering::Relaxed);
///     }
///
///     fn __repr__(&self) -> String {
///         format!("Account({})", self.balance())
///     }
/// }
/// ```
///
/// # Of the block
/// | `#[service(..)]` | |
/// |---|---|
/// | `name = ".."` | its name; default that of the type, in upper case and without `SERVICE` at its end |
/// | `aliases("..", ..)` | its other names |
/// | `class = ".."` | the full name of its class for clients; default the module's path and the type |
///
/// # Of a method
/// | `#[service(..)]` | |
/// |---|---|
/// | nothing | a method |
/// | `skip` | not for clients |
/// | `name = ".."` | another name for clients |
/// | `get`, `set`, `del` | gets, sets or deletes an attribute; its name is that of the method, without `set_` or `del_` |
/// | `len`, `get_item`, `set_item`, `del_item`, `contains`, `iter`, `next`, `call`, `eq`, `ne`, `lt`, `le`, `gt`, `ge`, `hash`, `str`, `repr`, `enter`, `exit` | Python's special method, as is a method named `__len__` |
/// | `pickle` | gives the content for `rpyc.classic.obtain` |
/// | `on_connect`, `on_disconnect` | called by the server when a client comes or goes, as is a method of that name; a service's only |
///
/// Python makes objects by calling their class. A method with the name of the class does the same
/// for its clients: with `#[service(name = "Account")]` on `open`, `conn.root.Account(5)` is an
/// account. It is a function and no class, so that `isinstance` cannot be asked about it.
///
/// As in Python, a type with `eq` and no `hash` cannot be hashed, and an iterator (`next`) is
/// its own iterator. `eq` and the like take `&Self`, or whatever they can be compared with.
///
/// # Of arguments
/// Arguments are passed by position or by their names, and are whatever serde can make: see
/// [`Parcel`]. An argument that does not fit raises the `TypeError` that Python would. The content
/// of a client's list or dict is fetched where it is needed.
///
/// | Argument | |
/// |---|---|
/// | `Option<T>` | may be left out |
/// | `#[service(default)]`, `#[service(default = ..)]` | may be left out |
/// | `#[service(name = "..")]` | has another name for clients |
/// | `&str`, `&[T]`, `&T` | are held for the call |
/// | [`Parcel`], [`RemoteObject`], [`Local`] | a value or an object of either side |
/// | [`Args`] | all that no other argument takes: `*args` and `**kwargs` |
/// | `&`[`Context`], `&`[`Connection`], `&`[`Peer`] | not passed by the client: the asking side |
///
/// # Of results
/// A result is whatever serde knows, or a [`Local`] for an object, a function or an iterator.
/// `Vec<u8>` becomes `bytes`. The error of a result that is spelled `Result<..>` becomes an
/// exception: [`trait@IntoException`].
pub use rpyc_server_macros::service;

/// Makes exceptions of an error: implements [`trait@IntoException`] for it, where the marks are
/// described.
pub use rpyc_server_macros::IntoException;
/// Makes an object of a type, for a service to give to its clients: implements [`Object`] for it.
///
/// As [`macro@service`], except that an object has no name and no connection hooks. It
/// is given as a [`Local`].
pub use rpyc_server_macros::object;
pub use server::{BoundAddr, Ended, ListenError, Server, ServerBuilder};
pub use service::Service;
pub use shutdown::shutdown_signal;
#[cfg(feature = "tls")]
pub use {
    rpyc_client::{Fingerprint, TlsError},
    tls::ServerTls,
};

/// The example of README.md compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
