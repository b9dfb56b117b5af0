//! Standard input and output as one stream.

#[cfg(unix)]
use std::io;
#[cfg(unix)]
use std::os::fd::AsFd;

#[cfg(unix)]
use tokio::net::unix::pipe;

use super::listener::Stream;

/// Standard input and output. To be called within a runtime.
pub(super) fn stream() -> Box<dyn Stream> {
    #[cfg(unix)]
    if let Ok(pipes) = pipes() {
        return pipes;
    }
    Box::new(tokio::io::join(tokio::io::stdin(), tokio::io::stdout()))
}

/// Pipes, as which a program that was started by another has them.
///
/// Tokio reads other standard input on a thread, which keeps the program from ending until
/// something comes.
#[cfg(unix)]
fn pipes() -> io::Result<Box<dyn Stream>> {
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    let (input, output) =
        (pipe::Receiver::from_owned_fd(input)?, pipe::Sender::from_owned_fd(output)?);
    Ok(Box::new(tokio::io::join(input, output)))
}
