//! Accepts connections and gives each its place.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::{Lines, Places};
use crate::counters::Loss;
use crate::face::Reception;
use crate::face::reception::SOCKET_ERROR_PAUSE;
use crate::table::{Arrival, Asker, Host, Transport};

/// Serves one listener until `stop`, then lets the connections finish their requests for at most
/// `grace`; tells whether all did.
///
/// Not cancel safe: dropping the future ends its connections at once.
pub(crate) async fn serve(
    listener: TcpListener,
    reception: Arc<Reception>,
    (places, lines): (Arc<Places>, Arc<Lines>),
    stop: CancellationToken,
    grace: Duration,
) -> bool {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let admitted = admit(stream, peer, &reception, (&places, &lines), &stop);
                    if let Some(mut connection) = admitted {
                        connections.spawn(async move {
                            connection.meet().await;
                            connection.run().await;
                        });
                    }
                }
                Err(error) => {
                    reception.lost(Instant::now().into_std(), Loss::Socket, "a listener", &error);
                    tokio::time::sleep(SOCKET_ERROR_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let drained =
        tokio::time::timeout(grace, async { while connections.join_next().await.is_some() {} });
    let has_drained = drained.await.is_ok();
    connections.shutdown().await;
    has_drained
}

/// Gives the client a place; `None` if it has gone already.
fn admit(
    stream: TcpStream,
    peer: SocketAddr,
    reception: &Arc<Reception>,
    (places, lines): (&Arc<Places>, &Arc<Lines>),
    stop: &CancellationToken,
) -> Option<Connection<TcpStream>> {
    let accepted = Instant::now();
    let local = stream.local_addr().ok()?.ip().to_canonical();
    // An answer or an event is written at once and whole; none shall wait until the one before it has
    // been acknowledged.
    stream.set_nodelay(true).ok()?;
    let interfaces = reception.interfaces.get();
    let asker = Asker {
        host: Host::from(peer),
        is_here: interfaces.is_own(peer.ip().to_canonical()),
        reached: Some(local),
        link: interfaces.link_of(local),
        transport: Transport::Tcp,
        arrival: Arrival::UNKNOWN,
    };
    let peer = SocketAddr::new(asker.host.ip(), peer.port());
    let (place, displaced) = places.take(accepted, peer, stop);
    if let Some(displaced) = displaced {
        let why = "idle longest when another connection came";
        reception.lost(accepted.into_std(), Loss::Displaced, displaced, why);
    }
    let line = lines.join(asker.host);
    let who = (peer, asker);
    Some(Connection::new(stream, who, Arc::clone(reception), (place, line), stop.clone()))
}
