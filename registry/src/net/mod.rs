//! Everything that differs between systems.
//!
//! On Linux a datagram comes with its local address and interface, so that the answer can leave
//! from there, and one system call receives or sends many. On other systems, or with the feature
//! `portable`, the system chooses the source, which is right for machines with one address, and
//! datagrams are received and sent one by one.

mod batch;
mod bind;
mod clocks;
mod interfaces;
mod lane;
mod operators;
#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod steering;
#[cfg(all(target_os = "linux", not(feature = "portable")))]
#[path = "linux.rs"]
mod system;
#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
#[path = "portable.rs"]
mod system;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub(crate) use batch::{Inbox, Outbox};
pub use bind::BindError;
pub(crate) use bind::{Plan, PlannedListener, UdpSocketPair, bind};
pub(crate) use clocks::Clocks;
#[cfg(all(test, target_os = "linux", not(feature = "portable")))]
pub(crate) use clocks::wall_clock;
pub(crate) use interfaces::{Interfaces, SharedInterfaces};
pub(crate) use operators::OperatorListener;
pub use operators::OperatorSocket;
pub(crate) use system::{raise_open_files, stamp_of_first_bytes};

/// A received datagram, and where it arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming {
    /// Its length, or more than the buffer's if it did not fit.
    pub(crate) len: usize,
    pub(crate) source: SocketAddr,
    /// The address of this machine at which it arrived, if the system reports that: for a broadcast
    /// the receiving interface's own, for a multicast `None`.
    pub(crate) reached: Option<IpAddr>,
    /// The interface at which it arrived; 0 if the system does not report it.
    pub(crate) link: u32,
    /// Whether it is a broadcast or a multicast. Then every socket of the address receives it.
    /// Always `false` where the system does not report it; there is only one socket then.
    pub(crate) is_for_all: bool,
    /// When the system received it, by the wall clock, since its epoch; when it was read, where the
    /// system does not stamp datagrams.
    pub(crate) stamp: Duration,
}

/// The destination and source of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing {
    pub(crate) to: SocketAddr,
    /// The local address from which it must leave.
    pub(crate) from: Option<IpAddr>,
    /// The interface at which the request arrived.
    pub(crate) link: u32,
}
