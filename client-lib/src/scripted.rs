//! Registries with scripted answers, on real sockets of the loopback interface.

use std::net::{Ipv4Addr, SocketAddr};

use rpyc_protocol::registry::native;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::{RegistryAddr, Transport};

/// A running registry; it ends when dropped.
pub(crate) struct Scripted {
    addr: SocketAddr,
    transport: Transport,
    requests: mpsc::UnboundedReceiver<(Vec<u8>, SocketAddr)>,
    task: JoinHandle<()>,
}

impl Scripted {
    /// Answers each datagram with those that `script` gives for it.
    pub(crate) async fn udp(
        mut script: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = socket.local_addr().unwrap();
        let (seen, requests) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 65_535];
            // A client that is gone makes the next call fail once.
            loop {
                let Ok((len, from)) = socket.recv_from(&mut buffer).await else { continue };
                let request = &buffer[..len];
                let _ = seen.send((request.to_vec(), from));
                for answer in script(request) {
                    let _ = socket.send_to(&numbered(request, answer), from).await;
                }
            }
        });
        Self { addr, transport: Transport::Udp, requests, task }
    }

    /// Answers the first bytes of each connection with the pieces that `script` gives for them, one
    /// packet each; then closes it, or keeps it open where `script` gives none.
    pub(crate) async fn tcp(
        script: impl FnMut(&[u8]) -> Option<Vec<Vec<u8>>> + Send + 'static,
    ) -> Self {
        Self::tcp_at(0, script).await.unwrap()
    }

    /// The same on a port of choice, which may be taken.
    pub(crate) async fn tcp_at(
        port: u16,
        mut script: impl FnMut(&[u8]) -> Option<Vec<Vec<u8>>> + Send + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let addr = listener.local_addr().unwrap();
        let (seen, requests) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut kept = Vec::new();
            loop {
                let (mut stream, from) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let mut buffer = vec![0; 65_535];
                let len = stream.read(&mut buffer).await.unwrap();
                let request = &buffer[..len];
                let _ = seen.send((request.to_vec(), from));
                match script(request) {
                    None => kept.push(stream),
                    Some(pieces) => {
                        for piece in pieces {
                            let piece = numbered(request, piece);
                            stream.write_all(&piece).await.unwrap();
                            tokio::task::yield_now().await;
                        }
                    }
                }
            }
        });
        Ok(Self { addr, transport: Transport::Tcp, requests, task })
    }

    pub(crate) fn addr(&self) -> RegistryAddr {
        RegistryAddr::new(self.transport, self.addr).unwrap()
    }

    /// The next request and where it came from.
    pub(crate) async fn request(&mut self) -> (Vec<u8>, SocketAddr) {
        self.requests.recv().await.unwrap()
    }

    /// How many requests have come that were not looked at.
    pub(crate) fn requests_len(&self) -> usize {
        self.requests.len()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A native answer with the number of the request, unless it has one.
fn numbered(request: &[u8], answer: Vec<u8>) -> Vec<u8> {
    let id = native::Request::parse(request).ok().and_then(|request| request.id);
    match (id, native::Reply::parse(&answer)) {
        (Some(id), Ok(mut reply)) if reply.id.is_none() => {
            reply.id = Some(id);
            [&reply.to_bytes()[..], b"\n"].concat()
        }
        _ => answer,
    }
}

/// An address of this machine where nothing listens, for as long as this is kept.
pub(crate) struct Deserted {
    addr: RegistryAddr,
    _port: Socket,
}

impl Deserted {
    pub(crate) fn new(transport: Transport) -> Self {
        let localhost = |port| SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let kind = match transport {
            Transport::Tcp | Transport::Unix => Type::STREAM,
            Transport::Udp => Type::DGRAM,
        };
        let socket = Socket::new(Domain::IPV4, kind, None).unwrap();
        socket.bind(&localhost(0)).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        if transport == Transport::Udp {
            // A connected socket receives only from its peer; a TCP socket must listen.
            socket.connect(&localhost(addr.port())).unwrap();
        }
        Self { addr: RegistryAddr::new(transport, addr).unwrap(), _port: socket }
    }

    pub(crate) fn addr(&self) -> RegistryAddr {
        self.addr.clone()
    }
}
