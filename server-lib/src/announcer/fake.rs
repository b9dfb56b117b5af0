//! A registry for tests, on a real socket of the loopback interface.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use rpyc_client::{Port, RegistryAddr, Transport};
use rpyc_protocol::registry::{Request, reply};
use rpyc_protocol::{Limits, ServiceName};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The answer of a registry without servers: an empty tuple.
const EMPTY: &[u8] = b"\x02";

/// What a registry heard: the command, and the address it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Register(SocketAddr),
    Unregister(SocketAddr),
}

/// A running registry, which can be made to fall silent or to forget; it ends when dropped.
pub(super) struct Fake {
    addr: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    heard: mpsc::UnboundedReceiver<Heard>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    table: BTreeSet<(String, IpAddr, Port)>,
    is_silent: bool,
}

impl Fake {
    pub(super) async fn start() -> Self {
        Self::bind((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// An address where no registry is. Each test takes its own `host`, so that no other test gets
    /// the port.
    pub(super) fn absent(host: u8) -> RegistryAddr {
        // All of 127/8 is this machine's on Linux only.
        let host = if cfg!(target_os = "linux") { host } else { 1 };
        let socket = std::net::UdpSocket::bind((Ipv4Addr::new(127, 0, 0, host), 0)).unwrap();
        RegistryAddr::new(Transport::Udp, socket.local_addr().unwrap()).unwrap()
    }

    /// Starts where no registry was.
    pub(super) async fn start_at(absent: &RegistryAddr) -> Self {
        let host = absent.host().parse::<IpAddr>().unwrap();
        Self::bind((host, absent.port()).into()).await
    }

    async fn bind(addr: SocketAddr) -> Self {
        let socket = UdpSocket::bind(addr).await.unwrap();
        let addr = socket.local_addr().unwrap();
        let shared = Arc::<Mutex<Shared>>::default();
        let (hear, heard) = mpsc::unbounded_channel();
        let task = tokio::spawn(serve(socket, Arc::clone(&shared), hear));
        Self { addr, shared, heard, task }
    }

    pub(super) fn addr(&self) -> RegistryAddr {
        RegistryAddr::new(Transport::Udp, self.addr).unwrap()
    }

    pub(super) fn be_silent(&self, is_silent: bool) {
        self.shared.lock().unwrap().is_silent = is_silent;
    }

    pub(super) fn forget(&self) {
        self.shared.lock().unwrap().table.clear();
    }

    /// `NAME host port` for each registration.
    pub(super) fn table(&self) -> Vec<String> {
        let shared = self.shared.lock().unwrap();
        shared.table.iter().map(|(name, host, port)| format!("{name} {host} {port}")).collect()
    }

    pub(super) async fn hear(&mut self) -> Heard {
        self.heard.recv().await.unwrap()
    }

    /// Waits for the next registration, and skips the end of others.
    pub(super) async fn hear_register(&mut self) -> SocketAddr {
        loop {
            if let Heard::Register(from) = self.hear().await {
                return from;
            }
        }
    }

    /// Waits for the next end, and skips registrations.
    pub(super) async fn hear_unregister(&mut self) -> SocketAddr {
        loop {
            if let Heard::Unregister(from) = self.hear().await {
                return from;
            }
        }
    }

    /// Forgets what was heard so far.
    pub(super) fn stop_remembering(&mut self) {
        while self.heard.try_recv().is_ok() {}
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: UdpSocket, shared: Arc<Mutex<Shared>>, hear: mpsc::UnboundedSender<Heard>) {
    let mut buffer = vec![0; 2000];
    loop {
        let Ok((len, from)) = socket.recv_from(&mut buffer).await else { continue };
        let is_silent = {
            let mut shared = shared.lock().unwrap();
            let host = from.ip();
            // Like RPyC's own, it ignores requests outside RPyC's protocol.
            let Ok(request) = Request::decode(&buffer[..len], &Limits::REQUEST) else { continue };
            match request {
                Request::Query { .. } => {
                    if !shared.is_silent {
                        let _ = socket.try_send_to(EMPTY, from);
                    }
                    continue;
                }
                Request::Register { names, port } => {
                    let _ = hear.send(Heard::Register(from));
                    if !shared.is_silent {
                        for name in names {
                            let name = ServiceName::new(name).unwrap().to_string();
                            shared.table.insert((name, host, port.clone()));
                        }
                    }
                }
                Request::Unregister { port } => {
                    let _ = hear.send(Heard::Unregister(from));
                    if !shared.is_silent {
                        shared.table.retain(|(_, at, on)| (*at, on) != (host, &port));
                    }
                }
                other @ Request::List { .. } => panic!("{other:?}"),
            }
            shared.is_silent
        };
        if !is_silent {
            let _ = socket.send_to(reply::ACKNOWLEDGEMENT, from).await;
        }
    }
}
