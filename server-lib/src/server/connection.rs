//! One client, from its first byte to its last.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rpyc_client::{Connection, Disconnect, Peer};
use tokio::sync::watch;
use tokio::time::timeout;

use super::admission::Permit;
use super::builder::{RootSource, Settings};
use super::listener::Stream;
use super::throttle::{Throttle, Topic};
use crate::Service;

/// How long the beginning of TLS may take.
#[cfg(feature = "tls")]
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A client that was let in.
pub(super) struct Client {
    pub(super) stream: Box<dyn Stream>,
    pub(super) peer: Peer,
    /// Its place, if it had to be let in.
    pub(super) permit: Option<Permit>,
    pub(super) throttle: Arc<Throttle>,
}

/// Serves one client until it leaves, or until the server stops and no request is under way.
pub(super) async fn serve<S: Service>(
    source: RootSource<S>,
    client: Client,
    settings: Settings,
    mut stop: watch::Receiver<bool>,
) {
    let Client { stream, peer, permit, throttle } = client;
    let mut unwelcome = pin!(unwelcome(permit.as_ref(), settings.first_message_timeout));
    #[cfg(feature = "tls")]
    let (stream, peer) = {
        let unshaken = peer.clone();
        let shaken = tokio::select! {
            shaken = shake_hands(stream, peer, &settings, &throttle) => shaken,
            why = &mut unwelcome => return log_unwelcome(&throttle, &unshaken, why),
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Some(shaken) = shaken else { return };
        shaken
    };
    let root = source.root(&peer);
    let mut builder = Connection::builder()
        .serving(root.clone())
        .limits(settings.session)
        .timeout(settings.timeout)
        .compress_above(settings.compress_above)
        .memory_budget(settings.memory_budget)
        .peer(peer.clone());
    if let Some(permit) = &permit {
        builder = builder.first_message(permit.first_message().clone());
    }
    #[cfg(feature = "tls")]
    let builder = match settings.tls {
        Some(_) => builder.frame_by_frame(),
        None => builder,
    };
    let (connection, driver) = builder.accept(stream);
    tracing::debug!(%peer, "connected");
    let Some(service) = root.downcast_ref::<S>() else { return };
    let ended = {
        let mut driver = pin!(driver);
        let mut greeting = pin!(greet(service, &connection, &throttle));
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
                reason = &mut driver => break Ok(reason),
                why = &mut unwelcome => break Err(why),
                () = &mut leaving, if is_leaving => is_leaving = false,
            }
        }
    };
    match ended {
        Ok(reason) => log_end(&throttle, &peer, &reason),
        Err(why) => log_unwelcome(&throttle, &peer, why),
    }
    service.on_disconnect(&connection).await;
}

/// Why a client must go that has sent no request.
#[derive(Clone, Copy, Debug)]
enum Unwelcome {
    Displaced,
    Silent(Duration),
}

/// Completes when a client must go that has sent no request.
async fn unwelcome(permit: Option<&Permit>, limit: Option<Duration>) -> Unwelcome {
    let Some(permit) = permit else { return pending().await };
    let silent = async {
        let first_message = permit.first_message().come();
        match limit {
            Some(limit) if timeout(limit, first_message).await.is_err() => limit,
            _ => pending().await,
        }
    };
    tokio::select! {
        () = permit.displaced() => Unwelcome::Displaced,
        limit = silent => Unwelcome::Silent(limit),
    }
}

fn log_unwelcome(throttle: &Throttle, peer: &Peer, why: Unwelcome) {
    match why {
        Unwelcome::Displaced if throttle.allows(Topic::Displaced) => {
            tracing::warn!(%peer, "sent no request; disconnected to make room for another client");
        }
        Unwelcome::Silent(limit) if throttle.allows(Topic::Silent) => {
            tracing::info!(%peer, "sent no request in {limit:?}; disconnected");
        }
        Unwelcome::Displaced | Unwelcome::Silent(_) => {}
    }
}

fn log_end(throttle: &Throttle, peer: &Peer, reason: &Disconnect) {
    match reason {
        reason if reason.is_orderly() => tracing::debug!(%peer, %reason, "disconnected"),
        Disconnect::Io(error) => tracing::debug!(%peer, %error, "disconnected"),
        reason if throttle.allows(Topic::Disconnected) => {
            tracing::info!(%peer, %reason, "disconnected");
        }
        _ => {}
    }
}

async fn greet<S: Service>(service: &S, connection: &Connection, throttle: &Throttle) {
    if let Err(exception) = service.on_connect(connection).await {
        if throttle.allows(Topic::NotWelcome) {
            tracing::info!(%exception, "the service refused a client");
        }
        connection.close().await;
    }
}

/// Begins TLS, where it is spoken.
#[cfg(feature = "tls")]
async fn shake_hands(
    stream: Box<dyn Stream>,
    mut peer: Peer,
    settings: &Settings,
    throttle: &Throttle,
) -> Option<(Box<dyn Stream>, Peer)> {
    let Some(tls) = settings.tls.as_ref().filter(|_| peer.addr.is_some()) else {
        return Some((stream, peer));
    };
    match timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok((stream, certificate))) => {
            peer.certificate = certificate;
            Some((Box::new(stream), peer))
        }
        Ok(Err(error)) => {
            if throttle.allows(Topic::NoTls) {
                tracing::info!(%peer, %error, "the TLS handshake with a client failed");
            }
            None
        }
        Err(_elapsed) => {
            if throttle.allows(Topic::NoTls) {
                tracing::info!(%peer, "a client did not finish the TLS handshake in time");
            }
            None
        }
    }
}
