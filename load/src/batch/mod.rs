//! Datagrams in and out of a connected socket, many a system call where the system can.

#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod linux;
#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
mod portable;

#[cfg(all(target_os = "linux", not(feature = "portable")))]
pub(super) use linux::Batch;
#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
pub(super) use portable::Batch;

/// Room for one answer: RPyC's clients read no longer ones.
const ANSWER: usize = 16 << 10;
