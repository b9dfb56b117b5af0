//! TCP: one legacy request a connection, or any number of native ones.

mod connection;
mod framing;
mod idle;
mod line;
mod watching;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::counters::Loss;
use crate::table::{Arrival, Asker, Host, Transport};
use connection::{Connection, REQUEST_DEADLINE};
pub use framing::{Frame, Framing};
pub(crate) use idle::Places;
pub(crate) use line::Lines;

/// Serves one listener until `stop`, then lets the connections finish their requests for at most
/// `grace`; tells whether all did.
///
/// Not cancel safe: dropping the future ends its connections at once.
pub(crate) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
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
                    let admitted = admit(stream, peer, &shared, (&places, &lines), &stop);
                    if let Some(mut connection) = admitted {
                        connections.spawn(async move {
                            connection.meet().await;
                            connection.run().await;
                        });
                    }
                }
                Err(error) => {
                    lost(&shared, Loss::Socket, "a listener", &error);
                    tokio::time::sleep(super::SOCKET_ERROR_PAUSE).await;
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
    shared: &Arc<Shared>,
    (places, lines): (&Arc<Places>, &Arc<Lines>),
    stop: &CancellationToken,
) -> Option<Connection<TcpStream>> {
    let accepted = Instant::now();
    let local = stream.local_addr().ok()?.ip().to_canonical();
    // An answer or an event is written at once and whole; none shall wait until the one before it has
    // been acknowledged.
    stream.set_nodelay(true).ok()?;
    let interfaces = shared.interfaces.get();
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
        lost(shared, Loss::Displaced, displaced, "idle longest when another connection came");
    }
    let line = lines.join(asker.host);
    let who = (peer, asker);
    Some(Connection::new(stream, who, Arc::clone(shared), (place, line), stop.clone()))
}

fn lost(
    shared: &Shared,
    loss: Loss,
    source: impl std::fmt::Display,
    reason: impl std::fmt::Display,
) {
    shared.counters.lost(Instant::now().into_std(), loss, source, reason);
}

/// Why a connection ended without its client having closed it.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("did not send a request, or take the answer, within {0:?}")]
    Deadline(Duration),
    #[error("ended inside a request")]
    EndedEarly,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the change is made but not durable: {0}")]
    NotDurable(Arc<str>),
    #[error("the table was not read within {REQUEST_DEADLINE:?}")]
    NotReady,
    #[error("{0}")]
    Refused(#[from] crate::Refusal),
}

impl From<&Failure> for Loss {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Deadline(_) => Self::Deadline,
            Failure::EndedEarly | Failure::Io(_) => Self::Broken,
            Failure::NotDurable(_) => Self::NotQueued,
            Failure::NotReady => Self::NotReady,
            Failure::Refused(refusal) => Self::from(refusal),
        }
    }
}
