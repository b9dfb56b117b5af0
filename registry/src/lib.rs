//! A registry for RPyC services, as a library, so that tests and programs can embed it.
//!
//! Data flows one way: a face (a socket) hands the bytes of a request to the [`Dispatcher`], which
//! decodes them, asks the [`Directory`] or changes the [`Registry`], and gives back the bytes of an
//! answer. Nothing below the faces reads a clock or a socket.

mod admission;
mod counters;
mod dispatch;
mod face;
mod limits;
mod net;
mod refusal;
mod server;
mod store;
mod table;

pub use counters::{Counters, Loss};
pub use dispatch::{Dispatcher, Listing, MAX_REQUEST, Outcome};
pub use face::tcp::{Frame, Framing};
pub use limits::Limits;
pub use net::BindError;
pub use refusal::Refusal;
pub use server::{Config, Listener, Server};
pub use store::{Change, Event, MemoryStore, Store, Ticket};
pub use table::{Asker, Directory, Host, Registry, SWEEP_INTERVAL, Transport};
