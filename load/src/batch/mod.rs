//! Sends and receives datagrams on a connected socket, many in one system call where the system
//! supports that.

#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod linux;
#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
mod portable;

#[cfg(all(target_os = "linux", not(feature = "portable")))]
pub(super) use linux::Batch;
#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
pub(super) use portable::Batch;

/// The buffer size for one reply. RPyC's clients read no longer replies.
const ANSWER: usize = 16 << 10;
