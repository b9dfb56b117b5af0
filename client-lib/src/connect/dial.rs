//! From an address to a stream.

use std::io;
use std::time::Duration;

use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::reply::Endpoint;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{ServiceStream, Socket};
use crate::Unreached;

/// Connects to one server.
pub(crate) async fn dial(endpoint: Endpoint, limit: Duration) -> Result<ServiceStream, Unreached> {
    match within(limit, open(&endpoint)).await {
        Ok(socket) => Ok(ServiceStream::new(endpoint, socket)),
        Err(error) => {
            tracing::debug!(%endpoint, %error, "cannot connect");
            Err(Unreached { endpoint, error })
        }
    }
}

async fn within<T>(limit: Duration, opening: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, opening).await.unwrap_or_else(|_| {
        let message = format!("no connection within {limit:.1?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, message))
    })
}

async fn open(endpoint: &Endpoint) -> io::Result<Socket> {
    match &endpoint.port {
        Port::Tcp(port) => {
            let stream = TcpStream::connect((endpoint.host.as_str(), port.get())).await?;
            stream.set_nodelay(true)?;
            Ok(Socket::Tcp(stream))
        }
        Port::Path(path) => open_path(&endpoint.host, path).await,
    }
}

#[cfg(unix)]
async fn open_path(host: &str, path: &str) -> io::Result<Socket> {
    if !is_here(host)? {
        let message = "it listens on a unix socket of another machine";
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    tokio::net::UnixStream::connect(path).await.map(Socket::Unix)
}

#[cfg(not(unix))]
async fn open_path(_host: &str, _path: &str) -> io::Result<Socket> {
    let message = "it listens on a unix socket, which this system does not have";
    Err(io::Error::new(io::ErrorKind::Unsupported, message))
}

/// Whether `host` is an address of this machine.
#[cfg(unix)]
fn is_here(host: &str) -> io::Result<bool> {
    let ip = host.split_once('%').map_or(host, |(ip, _zone)| ip);
    let Ok(ip) = ip.parse::<std::net::IpAddr>() else { return Ok(host == "localhost") };
    let ip = ip.to_canonical();
    Ok(ip.is_loopback() || crate::net::interfaces::Interfaces::read()?.has(ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_come_is_given_up() {
        let opening = std::future::pending::<io::Result<()>>();
        let error = within(Duration::from_secs(5), opening).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "no connection within 5.0s");
    }
}
