//! Being asked to end.

use anyhow::Context;

/// How the process was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// From the keyboard, or as if.
    Interrupt,
    /// By a supervisor.
    #[cfg_attr(not(unix), expect(dead_code, reason = "unix alone has this signal"))]
    Terminate,
}

/// Listens from now on; the future completes when somebody asks the process to end.
#[cfg(unix)]
pub(crate) fn listen() -> anyhow::Result<impl Future<Output = Request>> {
    use tokio::signal::unix::{SignalKind, signal};
    let context = "cannot listen for signals";
    let mut terminate = signal(SignalKind::terminate()).context(context)?;
    let mut interrupt = signal(SignalKind::interrupt()).context(context)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => Request::Terminate,
            _ = interrupt.recv() => Request::Interrupt,
        }
    })
}

/// Listens from now on; the future completes when somebody asks the process to end.
#[cfg(not(unix))]
pub(crate) fn listen() -> anyhow::Result<impl Future<Output = Request>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without the signal there is nothing to wait for but the end of the process.
            std::future::pending::<()>().await;
        }
        Request::Interrupt
    })
}

/// Word that the terminal has another size.
#[derive(Debug)]
pub(crate) struct Resized {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

/// Listens from now on for the terminal's changes of size.
pub(crate) fn resized() -> anyhow::Result<Resized> {
    Ok(Resized {
        #[cfg(unix)]
        signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change())
            .context("cannot listen for the terminal's changes of size")?,
    })
}

impl Resized {
    /// Completes when the size has changed; where the system does not tell, never.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn changed(&mut self) {
        #[cfg(unix)]
        if self.signal.recv().await.is_some() {
            return;
        }
        std::future::pending::<()>().await;
    }
}
