//! Accepts connections, counts them, and puts those of a host in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::arrival_order::ArrivalOrder;
use super::connection::Connection;
use super::idle::ConnectionCount;
use crate::counters::Loss;
use crate::face::Reception;
use crate::face::reception::SOCKET_ERROR_PAUSE;
use crate::host::Host;
use crate::limits::Limits;
use crate::table::{Arrival, Asker, Transport};

/// The state of the connections of all listeners: their number, and the order in which the first
/// requests of each host are served.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    count: Arc<ConnectionCount>,
    order: Arc<ArrivalOrder>,
}

impl Connections {
    /// Creates the state, with room for as many connections as `limits` allow.
    pub(crate) fn new(limits: &Limits) -> Self {
        let count = ConnectionCount::new(limits.connections, limits.connections_per_source);
        Self { count: Arc::new(count), order: Arc::default() }
    }
}

/// Serves one listener until `stop`, then lets the connections finish their requests for at most
/// `grace`. Returns whether all finished.
///
/// Not cancel safe: dropping the future ends its connections at once.
pub(crate) async fn serve(
    listener: TcpListener,
    reception: Arc<Reception>,
    connections: Connections,
    stop: CancellationToken,
    grace: Duration,
) -> bool {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = clients.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let admitted = admit(stream, peer, &reception, &connections, &stop);
                    if let Some(mut connection) = admitted {
                        clients.spawn(async move {
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
    finish(clients, grace).await
}

/// Lets connections finish their requests for at most `grace`, then ends them. Returns whether all
/// finished.
pub(super) async fn finish(mut clients: JoinSet<()>, grace: Duration) -> bool {
    let drained =
        tokio::time::timeout(grace, async { while clients.join_next().await.is_some() {} });
    let has_drained = drained.await.is_ok();
    clients.shutdown().await;
    has_drained
}

/// Counts a new connection; `None` if its client has already left.
fn admit(
    stream: TcpStream,
    peer: SocketAddr,
    reception: &Arc<Reception>,
    connections: &Connections,
    stop: &CancellationToken,
) -> Option<Connection<TcpStream>> {
    let accepted = Instant::now();
    let local = stream.local_addr().ok()?.ip().to_canonical();
    // Each answer or event is written whole and at once. It must not wait until the previous one
    // has been acknowledged.
    stream.set_nodelay(true).ok()?;
    let interfaces = reception.interfaces.get();
    let asker = Asker {
        host: Host::from(peer),
        port: peer.port(),
        is_here: interfaces.is_own(peer.ip().to_canonical()),
        reached: Some(local),
        link: interfaces.link_of(local),
        transport: Transport::Tcp,
        arrival: Arrival::UNKNOWN,
    };
    let peer = SocketAddr::new(asker.host.ip(), peer.port());
    let sender = (!asker.is_here).then(|| asker.host.into());
    let (guard, displaced) = connections.count.take(accepted, peer, sender, stop);
    if let Some(displaced) = displaced {
        let why = "idle longest when another connection came";
        reception.lost(accepted.into_std(), Loss::Displaced, displaced, why);
    }
    let waiting = connections.order.join(asker.host);
    let who = (peer, asker);
    Some(Connection::new(stream, who, Arc::clone(reception), (guard, waiting), stop.clone()))
}
