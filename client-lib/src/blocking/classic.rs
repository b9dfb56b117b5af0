//! Classic mode for programs without async; see [`crate::classic`].
//!
//! ```no_run
//! use rpyc_client::blocking::classic;
//!
//! let machine = classic::connect("localhost:18812")?;
//! let cwd: String = machine.modules("os")?.call("getcwd", ())?;
//! let sum: i64 = machine.eval("sum(range(10))")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt::Display;
use std::future::IntoFuture;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Connection, RemoteObject, wait};
use crate::classic::{Classic as Machine, Progress, RemoteSocket as Socket, Stdio, TransferError};
use crate::{Call, CallError, ConnectError, ConnectionBuilder};

/// A remote Python interpreter; see [`crate::classic::Classic`].
#[derive(Clone, Debug)]
pub struct Classic {
    machine: Machine,
    timeout: Option<Option<Duration>>,
}

/// Connects to the classic server at `address`; see [`crate::classic::connect`].
///
/// # Errors
/// [`ConnectError`] with the reason.
pub fn connect(address: impl Display) -> Result<Classic, ConnectError> {
    crate::classic::builder().connect_classic_blocking(address)
}

impl ConnectionBuilder {
    /// As [`connect_classic`](Self::connect_classic), for programs without async.
    ///
    /// # Errors
    /// [`ConnectError`] with the reason.
    pub fn connect_classic_blocking(self, address: impl Display) -> Result<Classic, ConnectError> {
        wait(self.connect_classic(address)).map(Classic::from)
    }
}

impl From<Machine> for Classic {
    fn from(machine: Machine) -> Self {
        Self { machine, timeout: None }
    }
}

impl Classic {
    /// Uses a connection to a classic server; see [`crate::classic::Classic::over`].
    ///
    /// # Errors
    /// [`CallError`].
    pub fn over(connection: &Connection) -> Result<Self, CallError> {
        wait(Machine::over(connection.as_async())).map(Self::from)
    }

    /// The same machine, which is waited for so long in [`eval`](Self::eval) and
    /// [`execute`](Self::execute); `None` for ever.
    #[must_use]
    pub fn with_timeout(&self, timeout: impl Into<Option<Duration>>) -> Self {
        Self { machine: self.machine.clone(), timeout: Some(timeout.into()) }
    }

    /// The machine, for async code.
    #[must_use]
    pub fn as_async(&self) -> &Machine {
        &self.machine
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> Connection {
        Connection(self.machine.connection())
    }

    fn wait<T: DeserializeOwned>(&self, call: Call<T>) -> Result<T, CallError> {
        let call = match self.timeout {
            Some(timeout) => call.timeout(timeout),
            None => call,
        };
        wait(call.into_future())
    }

    /// A module by its full name; it is imported if need be.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn modules(&self, name: &str) -> Result<RemoteObject, CallError> {
        wait(self.machine.modules(name).into_future()).map(RemoteObject::from)
    }

    /// The module of Python's builtins.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn builtins(&self) -> Result<RemoteObject, CallError> {
        wait(self.machine.builtins().into_future()).map(RemoteObject::from)
    }

    /// The value of a Python expression, with the names of the [`namespace`](Self::namespace).
    ///
    /// # Errors
    /// [`CallError`].
    pub fn eval<T: DeserializeOwned>(&self, expression: &str) -> Result<T, CallError> {
        self.wait(self.machine.eval(expression))
    }

    /// Runs Python statements; the names that they define are in the
    /// [`namespace`](Self::namespace) then.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn execute(&self, statements: &str) -> Result<(), CallError> {
        self.wait(self.machine.execute(statements))
    }

    /// The dict of the names of this connection.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn namespace(&self) -> Result<RemoteObject, CallError> {
        wait(self.machine.namespace().into_future()).map(RemoteObject::from)
    }

    /// Brings a value there; see [`crate::classic::Classic::deliver`].
    ///
    /// # Errors
    /// [`CallError`].
    pub fn deliver<T: DeserializeOwned>(
        &self,
        value: &(impl Serialize + Sync + ?Sized),
    ) -> Result<T, CallError> {
        wait(self.machine.deliver(value))
    }

    /// Brings the content of a list, a dict or the like here, and of those in it.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn obtain<T: DeserializeOwned>(&self, object: &RemoteObject) -> Result<T, CallError> {
        wait(object.as_async().content_within(object.timeout()))
    }

    /// Does `act` while the server's standard streams lead here; see
    /// [`crate::classic::Classic::redirected_stdio`].
    ///
    /// # Errors
    /// [`CallError`], or what `act` fails with.
    pub fn redirected_stdio<R, E: From<CallError>>(
        &self,
        stdio: Stdio,
        act: impl FnOnce() -> Result<R, E>,
    ) -> Result<R, E> {
        // Restored when it is dropped, should `act` panic.
        let redirected = wait(self.machine.redirect_stdio(stdio))?;
        let done = act();
        let restored = wait(redirected.restore());
        let done = done?;
        restored?;
        Ok(done)
    }

    /// Opens Python's prompt there for the terminal here, until its user leaves it.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn interact(&self, stdio: Stdio) -> Result<(), CallError> {
        wait(self.machine.interact(stdio))
    }

    /// Copies a file or a tree from here to the path `remote` there; see
    /// [`crate::classic::Classic::upload`].
    ///
    /// # Errors
    /// [`TransferError`].
    pub fn upload(
        &self,
        local: impl AsRef<Path>,
        remote: &str,
        progress: impl FnMut(Progress<'_>) + Send,
    ) -> Result<(), TransferError> {
        wait(self.machine.upload(local, remote, progress))
    }

    /// Copies a file or a tree from the path `remote` there to here; see
    /// [`crate::classic::Classic::download`].
    ///
    /// # Errors
    /// [`TransferError`].
    pub fn download(
        &self,
        remote: &str,
        local: impl AsRef<Path>,
        progress: impl FnMut(Progress<'_>) + Send,
    ) -> Result<(), TransferError> {
        wait(self.machine.download(remote, local, progress))
    }

    /// Copies a file or a tree of at most `limit` bytes; see
    /// [`crate::classic::Classic::download_at_most`].
    ///
    /// # Errors
    /// [`TransferError`].
    pub fn download_at_most(
        &self,
        remote: &str,
        local: impl AsRef<Path>,
        limit: u64,
        progress: impl FnMut(Progress<'_>) + Send,
    ) -> Result<(), TransferError> {
        wait(self.machine.download_at_most(remote, local, limit, progress))
    }

    /// Connects from there to `host:port`; see [`crate::classic::Classic::connect_tcp`].
    ///
    /// # Errors
    /// [`CallError`]; `OSError` if the server cannot.
    pub fn connect_tcp(&self, host: &str, port: u16) -> Result<RemoteSocket, CallError> {
        wait(self.machine.connect_tcp(host, port)).map(RemoteSocket)
    }
}

/// A TCP connection of the server's; see [`crate::classic::RemoteSocket`].
#[derive(Debug)]
pub struct RemoteSocket(Socket);

impl RemoteSocket {
    /// Says that nothing more will be written.
    ///
    /// # Errors
    /// What the server's system says.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        wait(self.0.shutdown())
    }
}

impl Read for RemoteSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        wait(self.0.read(buffer))
    }
}

impl Write for RemoteSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        wait(self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        wait(self.0.flush())
    }
}
