//! One client, from its first byte to its last.

use std::pin::pin;

use rpyc_client::{Connection, Disconnect, Local};
use tokio::sync::watch;

use super::Peer;
use super::builder::Terms;
use super::listener::Stream;
use crate::Service;

/// Serves one client until it leaves, or until it is told to stop and waits for nothing any more.
pub(super) async fn serve<S: Service>(
    root: Local,
    stream: Box<dyn Stream>,
    peer: Peer,
    terms: Terms,
    mut stop: watch::Receiver<bool>,
) {
    let builder = Connection::builder()
        .serving(root.clone())
        .limits(terms.session)
        .timeout(terms.timeout)
        .compress_above(terms.compress_above);
    let builder = match peer.addr {
        Some(addr) => builder.peer_addr(addr),
        None => builder,
    };
    let (connection, driver) = builder.accept(stream);
    tracing::debug!(%peer, "connected");
    let Some(service) = root.downcast_ref::<S>() else { return };
    let reason = {
        let mut driver = pin!(driver);
        let mut greeting = pin!(greet(service, &connection));
        let mut leaving = pin!(async {
            // An error means that the server is gone, which is a reason to stop too.
            let _ = stop.wait_for(|stop| *stop).await;
            connection.finish().await;
        });
        let (mut is_greeting, mut is_leaving) = (true, true);
        loop {
            tokio::select! {
                biased;
                () = &mut greeting, if is_greeting => is_greeting = false,
                reason = &mut driver => break reason,
                () = &mut leaving, if is_leaving => is_leaving = false,
            }
        }
    };
    match &reason {
        reason if reason.is_orderly() => tracing::debug!(%peer, %reason, "disconnected"),
        Disconnect::Io(error) => tracing::debug!(%peer, %error, "disconnected"),
        reason => tracing::info!(%peer, %reason, "disconnected"),
    }
    service.on_disconnect(&connection).await;
}

async fn greet<S: Service>(service: &S, connection: &Connection) {
    if let Err(exception) = service.on_connect(connection).await {
        tracing::info!(%exception, "the service refuses a client");
        connection.close().await;
    }
}
