//! The unix socket on which operators reach the registry.
//!
//! The file's mode decides who may connect, so a request over it needs no other proof.

#[cfg(not(unix))]
mod absent;
#[cfg(unix)]
mod unix;

use std::path::PathBuf;

#[cfg(not(unix))]
pub(crate) use absent::OperatorListener;
#[cfg(unix)]
pub(crate) use unix::OperatorListener;

/// Where operators reach the registry: a unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "two settings that belong together")]
pub struct OperatorSocket {
    /// The path of the socket: at most about 100 bytes, a limit of the system.
    pub path: PathBuf,
    /// The id of the group whose members may connect. Without one, only the user that runs the
    /// registry may, and the superuser.
    pub group: Option<u32>,
}
