//! Signals that ask the process to end, and changes of the terminal's size.

use anyhow::Context;

/// The kind of request to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// An interrupt, as from the keyboard.
    Interrupt,
    /// A request to terminate, as from a supervisor.
    #[cfg_attr(not(unix), expect(dead_code, reason = "unix alone has this signal"))]
    Terminate,
}

/// Starts to listen at the call; the future completes when a signal asks the process to end.
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

/// Starts to listen at the call; the future completes when a signal asks the process to end.
#[cfg(not(unix))]
pub(crate) fn listen() -> anyhow::Result<impl Future<Output = Request>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            // If the signal is not available, only the end of the process remains.
            std::future::pending::<()>().await;
        }
        Request::Interrupt
    })
}

/// Notifies of SIGHUP, which asks for the log file to be opened again. While this exists, the
/// signal does not end the process.
#[derive(Debug)]
pub(crate) struct HangUps {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

/// Starts to listen for SIGHUP.
pub(crate) fn hang_ups() -> anyhow::Result<HangUps> {
    Ok(HangUps {
        #[cfg(unix)]
        signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())
            .context("cannot listen for signals")?,
    })
}

impl HangUps {
    /// Completes when the signal has arrived, and never on systems without it.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        if self.signal.recv().await.is_some() {
            return;
        }
        std::future::pending::<()>().await;
    }
}

/// Notifies of changes of the terminal's size.
#[derive(Debug)]
pub(crate) struct Resized {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

/// Starts to listen for changes of the terminal's size.
pub(crate) fn resized() -> anyhow::Result<Resized> {
    Ok(Resized {
        #[cfg(unix)]
        signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change())
            .context("cannot listen for changes of the terminal's size")?,
    })
}

impl Resized {
    /// Completes when the size has changed, and never on systems that do not report changes.
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
