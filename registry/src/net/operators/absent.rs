//! Systems without unix sockets.

use std::convert::Infallible;
use std::io;
use std::path::Path;

use super::OperatorSocket;
use crate::net::BindError;

/// A socket that this system does not have.
#[derive(Debug)]
pub(crate) struct OperatorListener(Infallible);

impl OperatorListener {
    /// Fails.
    pub(crate) fn bind(socket: &OperatorSocket) -> Result<Self, BindError> {
        let message = "this system has no unix sockets";
        let error = io::Error::new(io::ErrorKind::Unsupported, message);
        Err(BindError::at_path(&socket.path, error))
    }

    pub(crate) fn path(&self) -> &Path {
        match self.0 {}
    }
}
