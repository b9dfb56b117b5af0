//! The signals by which a process is asked to end.

/// Completes when the process is asked to end: for [`Server::serve`](crate::Server::serve).
///
/// On Unix these are SIGTERM, which systemd, Docker and `kill` send, and SIGINT, which Ctrl-C
/// sends. Elsewhere it is Ctrl-C. On Unix it listens from the call on, so a signal that comes
/// before the server runs is not missed.
///
/// - Once it was called, these signals no longer end the process by themselves, not even a second
///   one:
///   [`ServerBuilder::notice`](crate::ServerBuilder::notice) and
///   [`ServerBuilder::grace`](crate::ServerBuilder::grace) bound how long a server takes to end.
///   SIGKILL ends it at once.
/// - A signal that the process was started to ignore stays ignored, as in Python. A shell without
///   job control starts background jobs so, and Ctrl-C then ends the script and not its server.
///   Only Linux shows that it is ignored; elsewhere the signal ends the server.
/// - SIGHUP is not one of them.
/// - If the system refuses to deliver signals here, the log has a warning, the future never
///   completes, and the signals end the process at once.
///
/// ```no_run
/// # async fn example(server: rpyc_server::Server<impl rpyc_server::Service>) {
/// server.serve(rpyc_server::shutdown_signal()).await;
/// # }
/// ```
///
/// # Panics
/// Outside a tokio runtime, or in one without I/O.
///
/// # Cancel safety
/// Cancel safe. Several may wait at a time; a signal completes all of them.
pub fn shutdown_signal() -> impl Future<Output = ()> + Send + 'static {
    system::requested()
}

#[cfg(unix)]
mod system {
    use std::io;

    use tokio::signal::unix::{Signal, SignalKind, signal};

    /// Listens at once; the future completes with the first signal.
    pub(super) fn requested() -> impl Future<Output = ()> + Send + 'static {
        let terminate = listen("SIGTERM", SignalKind::terminate());
        let interrupt = listen("SIGINT", SignalKind::interrupt());
        async {
            let name = tokio::select! {
                () = received(terminate) => "SIGTERM",
                () = received(interrupt) => "SIGINT",
            };
            tracing::info!(signal = name, "asked to end");
        }
    }

    /// None if the signal is ignored, or cannot be listened for.
    fn listen(name: &str, kind: SignalKind) -> Option<Signal> {
        if is_ignored(kind).unwrap_or(false) {
            return None;
        }
        let listening = signal(kind);
        if let Err(error) = &listening {
            tracing::warn!(signal = name, %error, "cannot listen for a signal");
        }
        listening.ok()
    }

    async fn received(signal: Option<Signal>) {
        match signal {
            Some(mut signal) => {
                signal.recv().await;
            }
            None => std::future::pending().await,
        }
    }

    /// Whether the process ignores a signal, as Linux shows it.
    fn is_ignored(kind: SignalKind) -> io::Result<bool> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        Ok(is_among_ignored(kind.as_raw_value(), &status))
    }

    /// Whether the line `SigIgn`, a mask in hexadecimal whose lowest bit is signal 1, has the
    /// signal.
    fn is_among_ignored(number: i32, status: &str) -> bool {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u128::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
        u32::try_from(number - 1).ok().and_then(|place| mask.checked_shr(place)).unwrap_or(0) & 1
            == 1
    }

    #[cfg(test)]
    mod tests {
        use super::is_among_ignored;

        #[test]
        fn the_mask_of_ignored_signals_is_read() {
            let status = "Name:\tserver\nSigBlk:\t0000000000004000\nSigIgn:\t0000000000001002\n";
            for (number, is_ignored) in [(1, false), (2, true), (13, true), (15, false), (0, false)]
            {
                assert_eq!(is_among_ignored(number, status), is_ignored, "{number}");
            }
            assert!(!is_among_ignored(2, "Name:\tserver\n"));
            assert!(!is_among_ignored(2, "SigIgn:\tunknown\n"));
        }
    }
}

#[cfg(not(unix))]
mod system {
    /// Listens once it is polled; the future completes with Ctrl-C.
    pub(super) async fn requested() {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::warn!(%error, "cannot listen for Ctrl-C");
            std::future::pending::<()>().await;
        }
    }
}
