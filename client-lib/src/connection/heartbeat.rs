//! Whether the peer is still there, asked now and then.

use std::sync::Arc;
use std::time::Duration;

use rpyc_protocol::brine::Value;
use rpyc_protocol::rpc::CallOptions;
use tokio::time::{Instant, sleep};

use super::shared::Shared;
use crate::Disconnect;

/// The payload of a ping, which comes back.
const PING_DATA: &str = "still there?";

/// Pings a peer that says nothing for so long, and ends the connection when it says nothing for as
/// long again. Whatever it says is an answer.
pub(super) async fn watch(shared: Arc<Shared>, interval: Duration) {
    let mut received = shared.with(|state| state.received);
    let mut is_asked = false;
    loop {
        tokio::select! {
            () = sleep(interval) => {}
            _ = shared.has_ended() => return,
        }
        let last = std::mem::replace(&mut received, shared.with(|state| state.received));
        if last != received {
            is_asked = false;
        } else if is_asked {
            shared.give_up(Disconnect::Silent { after: interval * 2 });
            return;
        } else {
            is_asked = ask(&shared, interval);
        }
    }
}

/// Sends a ping and ignores its answer; returns whether the connection still exists.
fn ask(shared: &Shared, interval: Duration) -> bool {
    let deadline = Instant::now().checked_add(interval).map(Instant::into_std);
    let options = CallOptions { deadline, within: None };
    shared.change(|state| {
        // Before the peer's first word it is not known how to speak to it.
        let knows_how = state.session.dialect().is_some();
        knows_how && state.session.ping(&Value::from(PING_DATA), options).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::super::tests::{pair_with, scripted};
    use super::*;
    use crate::{CallError, Connection, args};

    const INTERVAL: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_hangs_is_given_up() {
        let (client, mut far) = scripted(Connection::builder().timeout(None).ping_every(INTERVAL));
        let root = client.clone();
        let waiting = tokio::spawn(async move { root.root().await });
        let start = Instant::now();
        let reason = client.closed().await;
        assert!(
            matches!(reason, Disconnect::Silent { after } if after == 2 * INTERVAL),
            "{reason}"
        );
        assert_eq!(start.elapsed().as_secs(), 20);
        assert!(!reason.is_orderly());
        let error = waiting.await.unwrap().unwrap_err();
        assert!(matches!(
            &error,
            CallError::Disconnected { reason: Disconnect::Silent { .. }, may_have_run: true }
        ));
        // The stream is closed, after the request and one ping.
        let mut sent = Vec::new();
        far.read_to_end(&mut sent).await.unwrap();
        assert_eq!(
            sent.windows(PING_DATA.len()).filter(|at| *at == PING_DATA.as_bytes()).count(),
            1
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_answers_is_kept() {
        let builder = Connection::builder().ping_every(INTERVAL);
        let (client, server) = pair_with(builder, Connection::builder());
        let root = client.root().await.unwrap();
        sleep(INTERVAL * 100).await;
        assert_eq!(root.call::<i64>("inc", args![1]).await.unwrap(), 1);
        assert_eq!(client.stats().calls, 0);
        drop((root, client));
        assert!(server.closed().await.is_orderly());
    }
}
