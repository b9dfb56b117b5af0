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
