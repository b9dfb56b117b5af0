//! From the name of a service to a stream to one of its servers.

use rpyc_protocol::ServiceName;

use super::Finder;
use crate::{ConnectError, Registrar, Resolver, ServiceStream};

/// Opens a stream to a server of `name` over which nothing was said yet, found through the
/// registries that the environment names or those nearby.
///
/// # Errors
/// [`ConnectError`] with the step that failed, and its cause.
///
/// # Cancel safety
/// Cancel safe: dropping the future closes whatever was opened.
pub async fn open_by_service(name: &str) -> Result<ServiceStream, ConnectError> {
    let name = ServiceName::new(name)?;
    Registrar::from_env()?.open(&name).await
}

impl Registrar {
    /// Looks up `name` and opens a stream to one of its servers.
    ///
    /// They are tried in the order in which the registry recommends them. The next is tried beside
    /// the others when a quarter of a second has brought no connection, at once when one fails; the
    /// first connection is kept and the other attempts are dropped. So a server that swallows
    /// packets costs a quarter of a second.
    ///
    /// A server on a unix socket is connected to if it is on this machine.
    ///
    /// # Errors
    /// [`ConnectError::Lookup`] if the servers of the name are not known,
    /// [`ConnectError::AllFailed`] if none of them could be connected to.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future closes whatever was opened.
    pub async fn open(&self, name: &ServiceName) -> Result<ServiceStream, ConnectError> {
        Finder::from(self).open(name).await
    }
}

impl Resolver {
    /// Opens a stream to a server of `name`, over which nothing was said yet, as
    /// [`connect`](Self::connect) does.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future closes whatever was opened.
    pub async fn open(&self, name: &str) -> Result<ServiceStream, ConnectError> {
        let name = ServiceName::new(name)?;
        Finder::from(self).open(&name).await
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use rpyc_protocol::brine::Writer;
    use rpyc_protocol::registry::Port;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::scripted::{Deserted, Scripted};
    use crate::{Connection, Registries, Socket, Transport};

    /// A registry that returns `endpoints` for every request.
    async fn telling(endpoints: &[(&str, Port)]) -> (Scripted, Registrar) {
        let mut answer = Vec::new();
        let mut writer = Writer::new(&mut answer);
        writer.tuple(endpoints.len()).unwrap();
        for (host, port) in endpoints {
            writer.tuple(2).unwrap().str(host).unwrap();
            port.encode(&mut writer).unwrap();
        }
        let registry = Scripted::udp(move |_| vec![answer.clone()]).await;
        let registrar = Registrar::builder(Registries::from(registry.addr()))
            .timeout(Duration::from_secs(20))
            .build();
        (registry, registrar)
    }

    fn payroll() -> ServiceName {
        ServiceName::new("payroll").unwrap()
    }

    async fn echo(mut stream: ServiceStream, mut peer: impl AsyncReadExt + AsyncWriteExt + Unpin) {
        let mut heard = [0; 4];
        stream.write_all(b"ping").await.unwrap();
        peer.read_exact(&mut heard).await.unwrap();
        peer.write_all(&heard).await.unwrap();
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"ping");
        stream.shutdown().await.unwrap();
        assert_eq!(peer.read(&mut heard).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_dead_server_is_passed_over() {
        let dead = Deserted::new(Transport::Tcp);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = Port::tcp(listener.local_addr().unwrap().port()).unwrap();
        let dead_port = Port::tcp(dead.addr().port()).unwrap();
        let endpoints = [("127.0.0.1", dead_port), ("127.0.0.1", port.clone())];
        let (_registry, registrar) = telling(&endpoints).await;
        let stream = registrar.open(&payroll()).await.unwrap();
        assert_eq!(stream.endpoint().port, port);
        let Socket::Tcp(socket) = stream.socket() else { panic!("{stream:?}") };
        assert!(socket.nodelay().unwrap());
        let (peer, _) = listener.accept().await.unwrap();
        echo(stream, peer).await;
    }

    #[tokio::test]
    async fn all_failures_are_told_by_address() {
        let dead = Deserted::new(Transport::Tcp);
        let port = Port::tcp(dead.addr().port()).unwrap();
        let path = Port::path("/no/such/socket").unwrap();
        let endpoints =
            [("127.0.0.1", port.clone()), ("127.0.0.1", path.clone()), ("192.0.2.1", path)];
        let (_registry, registrar) = telling(&endpoints).await;
        let error = registrar.open(&payroll()).await.unwrap_err();
        assert!(error.is_all_failed());
        let text = error.to_string();
        assert!(text.starts_with("cannot connect to a server of PAYROLL: "), "{text}");
        for part in [
            &format!("127.0.0.1:{port} (Connection refused"),
            "127.0.0.1:/no/such/socket (No such file",
            "192.0.2.1:/no/such/socket (it listens on a unix socket of another machine)",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    /// Each of them takes the connection and says nothing.
    #[tokio::test]
    async fn the_timeout_bounds_all_servers_together() {
        let mut listeners = Vec::new();
        let mut endpoints = Vec::new();
        for _ in 0..4 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            endpoints.push(("127.0.0.1", Port::tcp(port).unwrap()));
            listeners.push(listener);
        }
        let (_registry, registrar) = telling(&endpoints).await;
        let start = std::time::Instant::now();
        let builder = Connection::builder().connect_timeout(Duration::from_secs(1));
        let error = builder.connect_through(&registrar, &payroll()).await.unwrap_err();
        assert!(error.is_all_failed(), "{error}");
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn the_timeout_bounds_the_search_for_a_registry_that_answers() {
        let silent = Scripted::udp(|_| Vec::new()).await;
        let registries = Registries::from(silent.addr());
        let registrar = Registrar::builder(registries).timeout(Duration::from_secs(20)).build();
        let limit = Duration::from_millis(200);
        let builder = Connection::builder().connect_timeout(limit);
        let start = std::time::Instant::now();
        let error = builder.connect_through(&registrar, &payroll()).await.unwrap_err();
        assert!(matches!(error, ConnectError::TimedOut { after, .. } if after == limit), "{error}");
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert_eq!(error.to_string(), "cannot connect to PAYROLL within 200.0ms");
    }

    #[tokio::test]
    async fn an_unknown_name_is_told_as_such() {
        let (_registry, registrar) = telling(&[]).await;
        let error = registrar.open(&payroll()).await.unwrap_err();
        assert!(error.is_unknown_name(), "{error}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_unix_socket_of_this_machine_is_connected_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("payroll.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let port = Port::path(path.to_str().unwrap()).unwrap();
        let (_registry, registrar) = telling(&[("127.0.0.1", port)]).await;
        let stream = registrar.open(&payroll()).await.unwrap();
        let (peer, _) = listener.accept().await.unwrap();
        echo(stream, peer).await;
    }

    #[test]
    fn futures_may_move_between_threads() {
        fn check(_: impl Send) {}
        check(open_by_service("payroll"));
        check(crate::connect_by_service("payroll"));
        check(crate::connect("localhost:1"));
    }
}
