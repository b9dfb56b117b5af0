//! Serve RPyC services, and be found.
//!
//! An attribute on an `impl` block makes a service of it, and a [`Server`] serves it to clients in
//! Python and in Rust, announces it, and ends tidily.
//!
//! ```no_run
//! use rpyc_server::builtins::KeyError;
//! use rpyc_server::{Server, service};
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
//! Server::builder(Payroll).bind("0.0.0.0:0").register().serve(tokio::signal::ctrl_c()).await?;
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
//! | exceptions | [`IntoException`], [`builtins`], [`Exception`] |
//! | a server, and who connects to it | [`Server`], [`Peer`] |
//! | an announcement without a server | [`Announcer`] |

// The attributes' code names this crate by its name, also in here.
extern crate self as rpyc_server;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod announcer;
mod collection;
mod exception;
mod pickle;
mod server;
mod service;
mod signature;

pub use announcer::{Announcer, AnnouncerBuilder, State, Status};
pub use collection::{Dict, List};
pub use exception::{IntoException, builtins};
pub use rpyc_client::{
    Acknowledgement, Args, CallError, Comparison, Connection, Context, ConvertError, Exception,
    Int, Local, Method, Object, Parcel, Port, RegisterError, Registries, RegistryAddr,
    RegistryAddrError, RemoteObject, ServiceName, SessionLimits, Value, args, denied, kwargs,
};
pub use rpyc_server_macros::{object, service};
pub use server::{Credentials, Ended, ListenError, Peer, Server, ServerBuilder};
pub use service::Service;
