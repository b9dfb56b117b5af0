//! The unix socket for operators: serves connections of programs that may open its file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::arrival_order::ArrivalOrder;
use super::connection::Connection;
use super::idle::ConnectionCount;
use super::listener::finish;
use crate::counters::Loss;
use crate::face::Reception;
use crate::face::reception::SOCKET_ERROR_PAUSE;
use crate::host::Host;
use crate::net::{OperatorListener, OperatorSocket};
use crate::table::{Arrival, Asker, Transport};

/// The most connections of operators at a time. They are counted apart from those over TCP, so that
/// clients cannot displace them.
const LIMIT: usize = 64;

/// The source of every operator's request, in the log and in answers.
const SOURCE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How often a registry without room for the file of its socket tries again.
const RETRY: Duration = Duration::from_secs(2);

/// As [`serve_operators`], once the socket can be bound.
///
/// Not cancel safe, as that.
pub(crate) async fn serve_operators_later(
    socket: OperatorSocket,
    reception: Arc<Reception>,
    stop: CancellationToken,
    grace: Duration,
) -> bool {
    loop {
        tokio::select! {
            () = stop.cancelled() => return true,
            () = tokio::time::sleep(RETRY) => {}
        }
        let socket = socket.clone();
        let bound = tokio::task::spawn_blocking(move || OperatorListener::bind(&socket)).await;
        match bound.expect("binding a socket does not panic") {
            Ok(listener) => {
                info!(path = %listener.path().display(), "listening for operators");
                return serve_operators(listener, reception, stop, grace).await;
            }
            Err(error) => debug!(%error, "operators still have no socket"),
        }
    }
}

/// Serves the socket until `stop`, then lets the connections finish their requests for at most
/// `grace`. Returns whether all finished.
///
/// Not cancel safe: dropping the future ends its connections at once.
pub(crate) async fn serve_operators(
    socket: OperatorListener,
    reception: Arc<Reception>,
    stop: CancellationToken,
    grace: Duration,
) -> bool {
    let connections = Arc::new(ConnectionCount::new(LIMIT, LIMIT));
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = clients.join_next() => {}
            accepted = socket.listener().accept() => match accepted {
                Ok((stream, _unnamed)) => {
                    clients.spawn(admit(stream, &reception, &connections, &stop).run());
                }
                Err(error) => {
                    let now = Instant::now().into_std();
                    reception.lost(now, Loss::Socket, "the operators' socket", &error);
                    tokio::time::sleep(SOCKET_ERROR_PAUSE).await;
                }
            },
        }
    }
    drop(socket);
    finish(clients, grace).await
}

/// Counts a new connection.
fn admit(
    stream: UnixStream,
    reception: &Arc<Reception>,
    connections: &Arc<ConnectionCount>,
    stop: &CancellationToken,
) -> Connection<UnixStream> {
    if let Ok(peer) = stream.peer_cred() {
        debug!(uid = peer.uid(), pid = peer.pid(), "an operator connected");
    }
    let asker = Asker {
        port: SOURCE.port(),
        host: Host::from(SOURCE),
        is_here: true,
        reached: Some(SOURCE.ip()),
        link: 0,
        transport: Transport::Unix,
        arrival: Arrival::UNKNOWN,
    };
    let (guard, displaced) = connections.take(Instant::now(), SOURCE, None, stop);
    if displaced.is_some() {
        let why = "an operator's connection, idle longest when another came";
        reception.lost(Instant::now().into_std(), Loss::Displaced, SOURCE, why);
    }
    // Operators wait for no one: each connection is the first of an order of its own.
    let waiting = Arc::<ArrivalOrder>::default().join(asker.host);
    Connection::new(stream, (SOURCE, asker), Arc::clone(reception), (guard, waiting), stop.clone())
}
