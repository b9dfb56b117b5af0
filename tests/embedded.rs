//! A registry inside the test process, and servers that only listen.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::IpNet;
use rpyc_client::native::{Granted, Native, Registration};
use rpyc_client::{Port, Registrar, RegistryAddr, Transport};
use rpyc_registry::{Access, Config, Server};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A registry without a store: its table is lost when it stops.
pub(crate) struct Embedded {
    pub(crate) port: u16,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Embedded {
    pub(crate) fn start() -> Self {
        Self::start_at(0)
    }

    pub(crate) fn start_at(port: u16) -> Self {
        let hosts = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        // Servers of this machine may announce any address, and the tests are operators.
        let addresses = ["127.0.0.1=0.0.0.0/0", "127.0.0.1=::/0"];
        let addresses = addresses.map(|grant| grant.parse().unwrap()).into();
        let operators = vec![IpNet::from(IpAddr::V4(Ipv4Addr::LOCALHOST))];
        let access = Access { addresses, operators, ..Access::default() };
        let server = Server::bind(&Config { hosts, port, access, ..Config::default() }).unwrap();
        let port = server.listeners()[0].address().port();
        assert!(server.listeners().iter().all(|it| it.address().port() == port));
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let serving = tokio::spawn(async move {
            server.serve(stopped, Duration::ZERO).await.unwrap();
        });
        Self { port, stop, serving }
    }

    pub(crate) fn addr(&self) -> RegistryAddr {
        at(Transport::Udp, self.port)
    }

    pub(crate) fn native(&self) -> Native {
        Registrar::new(self.addr().into()).native()
    }

    pub(crate) async fn register(&self, port: u16) -> Granted {
        self.native().register(registration(port)).await.unwrap().value
    }

    /// Stops the registry and returns its port.
    pub(crate) async fn stop(self) -> u16 {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap();
        self.port
    }
}

pub(crate) fn at(transport: Transport, port: u16) -> RegistryAddr {
    RegistryAddr::new(transport, (Ipv4Addr::LOCALHOST, port).into()).unwrap()
}

/// A registration of PAYROLL on a port of this machine.
pub(crate) fn registration(port: u16) -> Registration {
    Registration {
        names: vec!["payroll".into()],
        port: Port::tcp(port).unwrap(),
        addresses: Vec::new(),
        ttl_ms: None,
        replaces: None,
        key: None,
        exclusive: false,
        details: Default::default(),
    }
}

/// A listener that accepts connections, and its port.
pub(crate) async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port that refuses connections as long as the socket is kept.
pub(crate) fn deserted() -> (tokio::net::TcpSocket, u16) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}
