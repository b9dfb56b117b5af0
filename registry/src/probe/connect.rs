//! The probes: the only place where the registry opens connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rpyc_client::{ConnectError, Connection, Dialect, Tls};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ProbeKind;

/// How long closing the connection of a passed probe may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// The cause of a failed probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server, or the path to it; for display.
    Theirs(String),
    /// This machine: the probe could not be made; for display.
    Ours(String),
}

/// The dialects known of a server before a probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The dialect of the last answer, so that the next probe speaks no other.
    pub(crate) dialect: Option<Dialect>,
    /// The dialect of other servers of its name on its host, which is tried first.
    pub(crate) expected: Option<Dialect>,
}

/// Tries addresses one after another until one passes, each for at most `limit`.
///
/// Cancel safe: dropping the future closes every connection that it opened.
pub(crate) async fn probe(
    kind: ProbeKind,
    addresses: &[SocketAddr],
    limit: Duration,
    known: Shown,
) -> Result<Shown, Fault> {
    let mut first = None;
    for address in addresses {
        let tried = match kind {
            ProbeKind::Tcp => tcp(*address, limit).await.map(|_stream| Shown::default()),
            ProbeKind::Tls => Box::pin(tls(*address, limit)).await,
            ProbeKind::Rpyc => Box::pin(rpyc(*address, limit, known)).await,
        };
        match tried {
            Ok(shown) => return Ok(shown),
            Err(fault) => first = first.or(Some(fault)),
        }
    }
    Err(first.unwrap_or_else(|| Fault::Ours("none of its addresses may be probed".to_owned())))
}

/// Opens a connection; dropping it closes it.
pub(crate) async fn tcp(address: SocketAddr, limit: Duration) -> Result<TcpStream, Fault> {
    match timeout(limit, TcpStream::connect(address)).await {
        Ok(connected) => connected.map_err(|error| fault(address, &error)),
        Err(_elapsed) => Err(silence("no connection to", address, limit)),
    }
}

async fn tls(address: SocketAddr, limit: Duration) -> Result<Shown, Fault> {
    let handshake = async {
        let stream = TcpStream::connect(address).await.map_err(|error| fault(address, &error))?;
        let tls = Tls::dangerously_trusting_anybody();
        let shaken = tls.handshake(&address.ip().to_string(), stream).await;
        shaken
            .map_err(|error| Fault::Theirs(format!("TLS handshake with {address} failed: {error}")))
    };
    let mut stream = match timeout(limit, handshake).await {
        Ok(shaken) => shaken?,
        Err(_elapsed) => return Err(silence("no TLS handshake with", address, limit)),
    };
    // The probe has passed even if closing fails.
    let _ = timeout(FAREWELL, stream.shutdown()).await;
    Ok(Shown::default())
}

async fn rpyc(address: SocketAddr, limit: Duration, known: Shown) -> Result<Shown, Fault> {
    let ping = async {
        // The limit below covers all of this. If the dialect is not known, the first ping finds it.
        let builder = Connection::builder().timeout(None).connect_timeout(2 * limit);
        let builder = match (known.dialect, known.expected) {
            (Some(dialect), _) => builder.dialect(dialect),
            (None, Some(expected)) => builder.greet_with_ping().try_first(expected),
            (None, None) => builder.greet_with_ping(),
        };
        let connection = builder.connect(address).await.map_err(|error| match error {
            ConnectError::Unreached(unreached) => fault(address, &unreached.error),
            error => Fault::Theirs(error.to_string()),
        })?;
        if known.dialect.is_some() {
            let theirs =
                |error| Fault::Theirs(format!("{address} does not answer a ping: {error}"));
            connection.ping().await.map_err(theirs)?;
        }
        Ok(connection)
    };
    let connection = match timeout(limit, ping).await {
        Ok(pinged) => pinged?,
        Err(_elapsed) => return Err(silence("no answer to a ping from", address, limit)),
    };
    let dialect = connection.dialect();
    // The probe has passed even if closing fails.
    let _ = timeout(FAREWELL, connection.close()).await;
    Ok(Shown { dialect, ..known })
}

fn silence(what: &str, address: SocketAddr, limit: Duration) -> Fault {
    Fault::Theirs(format!("{what} {address} within {}", humantime::format_duration(limit)))
}

/// Attributes an error to the server or to this machine.
fn fault(address: SocketAddr, error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            Fault::Theirs(format!("connection refused by {address}"))
        }
        io::ErrorKind::AddrNotAvailable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::OutOfMemory
        | io::ErrorKind::PermissionDenied => Fault::Ours(error.to_string()),
        _ if is_exhausted(error) => Fault::Ours(error.to_string()),
        _ => Fault::Theirs(format!("{address}: {error}")),
    }
}

/// Whether this process or this machine has exhausted a resource.
#[cfg(unix)]
fn is_exhausted(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let exhausted = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS];
    exhausted.into_iter().any(|errno| error.raw_os_error() == Some(errno as i32))
}

#[cfg(not(unix))]
fn is_exhausted(_: &io::Error) -> bool {
    false
}
