//! Binds the socket, and removes its file at the end.

use std::fs::{self, File, Metadata, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;
use tracing::warn;

use super::OperatorSocket;
use crate::net::BindError;

/// How many operators may wait until the registry accepts them.
const BACKLOG: i32 = 128;

/// How often the lock of the directory is tried while another process has it.
const LOCK_TRIES: u32 = 100;

/// The pause between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The listening socket. Dropping it removes its file.
#[derive(Debug)]
pub(crate) struct OperatorListener {
    /// Dropped first: while the socket is open, no other file has its number.
    file: SocketFile,
    listener: UnixListener,
}

impl OperatorListener {
    /// Listens. A socket on which no process listens any more is replaced.
    ///
    /// # Errors
    /// [`BindError`] of the kind `AddrInUse` if a process listens there, `AlreadyExists` if another
    /// file is there, and `InvalidInput` if the path is too long.
    pub(crate) fn bind(socket: &OperatorSocket) -> Result<Self, BindError> {
        // `status` reports the path to clients, which run in other directories.
        let path = std::path::absolute(&socket.path);
        let path = path.unwrap_or_else(|_no_directory| socket.path.clone());
        listen(&path, socket.group).map_err(|error| BindError::at_path(&path, error))
    }

    /// The path of the socket.
    pub(crate) fn path(&self) -> &Path {
        &self.file.path
    }

    /// The socket.
    pub(crate) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

fn listen(path: &Path, group: Option<u32>) -> io::Result<OperatorListener> {
    let address = SockAddr::unix(path)?;
    // Without the lock, two registries that start at once could each remove the other's socket.
    let _lock = lock_directory(path);
    remove_stale(path, &address)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&address)?;
    let file = SocketFile::created(path)?;
    // No process can connect before `listen`, so every process is subject to the mode.
    restrict(path, group)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = UnixListener::from_std(StdListener::from(socket))?;
    Ok(OperatorListener { file, listener })
}

/// Lets only this user connect, and the members of `group`.
fn restrict(path: &Path, group: Option<u32>) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    let Some(group) = group else { return Ok(()) };
    chown(path, None, Some(group)).map_err(|error| {
        let message = format!("cannot give the socket to group {group}: {error}");
        io::Error::new(error.kind(), message)
    })?;
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    let may_enter = |directory: &Metadata| {
        let bit = if directory.gid() == group { 0o010 } else { 0o001 };
        directory.mode() & bit != 0
    };
    let directory = path.parent().and_then(|directory| fs::metadata(directory).ok());
    if directory.is_some_and(|directory| !may_enter(&directory)) {
        warn!(
            path = %path.display(), group,
            "the group cannot reach the operators' socket: it may not enter the directory"
        );
    }
    Ok(())
}

/// Locks the directory against other registries that start, unless the lock is kept too long.
fn lock_directory(path: &Path) -> Option<File> {
    let directory = File::open(path.parent()?).ok()?;
    for _ in 0..LOCK_TRIES {
        match directory.try_lock() {
            Ok(()) => return Some(directory),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            // This file system has no locks.
            Err(TryLockError::Error(_)) => return None,
        }
    }
    None
}

/// Removes the socket of a registry that was killed.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    let file = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    if !file.file_type().is_socket() {
        let message = "a file that is not a socket is there";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A process that does not accept connections at the moment is still there.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        Ok(()) | Err(_) => {
            let message = "another process listens there";
            Err(io::Error::new(io::ErrorKind::AddrInUse, message))
        }
    }
}

/// The file of a bound socket. Dropping it removes the file.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// The numbers of the device and the file.
    identity: (u64, u64),
}

impl SocketFile {
    fn created(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If another process removed the file, another registry may have its own there.
        if identity(&self.path).is_ok_and(|present| present == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            warn!(path = %self.path.display(), %error, "cannot remove the operators' socket");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests;
