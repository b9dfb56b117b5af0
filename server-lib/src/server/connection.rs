//! One client, from its first byte to its last.

use std::pin::pin;

use rpyc_client::{Connection, Disconnect, Peer};
use tokio::sync::watch;

use super::builder::{RootSource, Settings};
use super::listener::Stream;
use crate::Service;

/// How long the beginning of TLS may take.
#[cfg(feature = "tls")]
const HANDSHAKE: std::time::Duration = std::time::Duration::from_secs(10);

/// Serves one client until it leaves, or until the server stops and no request is under way.
pub(super) async fn serve<S: Service>(
    source: RootSource<S>,
    stream: Box<dyn Stream>,
    peer: Peer,
    settings: Settings,
    mut stop: watch::Receiver<bool>,
) {
    #[cfg(feature = "tls")]
    let (stream, peer) = {
        let shaken = tokio::select! {
            shaken = shake_hands(stream, peer, &settings) => shaken,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Some(shaken) = shaken else { return };
        shaken
    };
    let root = source.root(&peer);
    let builder = Connection::builder()
        .serving(root.clone())
        .limits(settings.session)
        .timeout(settings.timeout)
        .compress_above(settings.compress_above)
        .peer(peer.clone());
    #[cfg(feature = "tls")]
    let builder = match settings.tls {
        Some(_) => builder.frame_by_frame(),
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
        tracing::info!(%exception, "the service refused a client");
        connection.close().await;
    }
}

/// Begins TLS, where it is spoken.
#[cfg(feature = "tls")]
async fn shake_hands(
    stream: Box<dyn Stream>,
    mut peer: Peer,
    settings: &Settings,
) -> Option<(Box<dyn Stream>, Peer)> {
    let Some(tls) = settings.tls.as_ref().filter(|_| peer.addr.is_some()) else {
        return Some((stream, peer));
    };
    match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok((stream, certificate))) => {
            peer.certificate = certificate;
            Some((Box::new(stream), peer))
        }
        Ok(Err(error)) => {
            tracing::info!(%peer, %error, "the TLS handshake with a client failed");
            None
        }
        Err(_elapsed) => {
            tracing::info!(%peer, "a client did not finish the TLS handshake in time");
            None
        }
    }
}
