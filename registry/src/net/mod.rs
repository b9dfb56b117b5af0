//! The seam to the system: what differs between systems stands behind the names of this module.
//!
//! On Linux a datagram tells by which address and interface it came, so that its answer can leave
//! from there, and many are received or sent by one system call. Elsewhere, or with the feature
//! `portable`, the system chooses, which is right for machines with one address, and they go one by
//! one.

mod batch;
mod bind;
mod clocks;
mod interfaces;
mod lane;
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
#[cfg(test)]
pub(crate) use clocks::wall_clock;
pub(crate) use interfaces::{Interfaces, SharedInterfaces};
pub(crate) use system::{raise_open_files, stamp_of_first_bytes};

/// A datagram that came in, and by which way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming {
    /// Its length, or more than the buffer holds if it did not fit.
    pub(crate) len: usize,
    pub(crate) source: SocketAddr,
    /// The address of this machine by which it came, if the system tells: for a broadcast the
    /// receiving interface's own, for a multicast none.
    pub(crate) reached: Option<IpAddr>,
    /// The interface by which it came; 0 if the system does not tell.
    pub(crate) link: u32,
    /// Whether it was sent to several at once: a broadcast or a multicast. Then every socket of the
    /// address hears it. Never so where the system does not tell; there is one socket then.
    pub(crate) is_for_all: bool,
    /// When the system received it, by the wall clock, since its epoch; when it was read, where the
    /// system does not stamp datagrams.
    pub(crate) stamp: Duration,
}

/// The way an answer takes back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing {
    pub(crate) to: SocketAddr,
    /// Leave from this address of this machine.
    pub(crate) from: Option<IpAddr>,
    /// The interface by which the request came.
    pub(crate) link: u32,
}
