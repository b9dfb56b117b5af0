//! Binds the sockets of a registry.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::path::Path;
use std::sync::Arc;

use rpyc_protocol::registry::MULTICAST_GROUP;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tracing::info;

use super::interfaces::Interfaces;
use super::lane::Lane;
use super::system::{
    DatagramSocket, MOST_SOCKETS, RECEIVE_BUFFER_REMEDY, broadcast_addresses,
    enlarge_receive_buffer, share_address, stamp_connections, steer,
};

/// How often the search for a port that is free for all sockets is repeated, if the port is 0.
const PORT_TRIES: usize = 32;

/// The backlog of connections: as many as the system allows. A client whose connection is dropped
/// retries only after a second.
const BACKLOG: i32 = 65_535;

/// The receive buffer for bursts of datagrams. It holds tens of thousands of them; a system's
/// default holds some hundred.
const RECEIVE_BUFFER: usize = 8 << 20;

/// The sockets to bind.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Addresses to listen on; if empty, every address of both families.
    pub(crate) hosts: Vec<IpAddr>,
    /// The port of all sockets; with 0 the system chooses one.
    pub(crate) port: u16,
    /// Whether IPv6 must be available.
    pub(crate) needs_ipv6: bool,
    /// What to listen for at each address, in this order.
    pub(crate) listeners: Vec<PlannedListener>,
}

/// What to listen for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PlannedListener {
    /// Datagrams, with so many sockets for an address where the system can share them out.
    Udp { sockets: usize },
    /// Connections.
    Tcp,
}

/// Every socket of a registry.
#[derive(Debug)]
pub(crate) struct Bound {
    /// The sockets of each lane: each lane is served by one task, so that the requests of a host
    /// are served in the order of their arrival whichever of our addresses they are sent to.
    pub(crate) udp: Vec<Vec<UdpSocketPair>>,
    pub(crate) tcp: Vec<TcpListener>,
}

/// A socket that receives requests, and the one that sends the answers.
#[derive(Clone, Debug)]
pub(crate) struct UdpSocketPair {
    pub(crate) receiver: Arc<DatagramSocket>,
    /// The same socket, unless `receiver` receives broadcasts or multicasts on behalf of a socket
    /// that is bound to one address.
    pub(crate) sender: Arc<DatagramSocket>,
    /// If set, only requests from this interface are served.
    pub(crate) only_link: Option<u32>,
    /// The hosts that it serves. A broadcast or multicast reaches the sockets of all lanes; only
    /// the lane of its source serves it.
    pub(crate) lane: Lane,
}

impl UdpSocketPair {
    fn alone(socket: &Arc<DatagramSocket>, lane: Lane) -> Self {
        let (receiver, sender) = (Arc::clone(socket), Arc::clone(socket));
        Self { receiver, sender, only_link: None, lane }
    }

    /// Whether this is a separate listener, which the log and the status name.
    pub(crate) fn is_primary(&self) -> bool {
        Arc::ptr_eq(&self.receiver, &self.sender) && self.lane.index == 0
    }
}

/// A listening socket could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {listener}")]
#[non_exhaustive]
pub struct BindError {
    listener: String,
    address: Option<SocketAddr>,
    source: io::Error,
}

impl BindError {
    fn new(transport: &'static str, address: SocketAddr, source: io::Error) -> Self {
        let listener = format!("{transport}://{address}");
        Self { listener, address: Some(address), source }
    }

    /// The error of a unix socket.
    pub(super) fn at_path(path: &Path, source: io::Error) -> Self {
        Self { listener: format!("unix:{}", path.display()), address: None, source }
    }

    /// The address that could not be bound; `None` if it is the path of a unix socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The kind of the system's error.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

/// Binds every socket of the plan to one port.
///
/// # Errors
/// [`BindError`] names the first socket that could not be bound; the earlier ones are closed.
pub(crate) fn bind(plan: &Plan, interfaces: &Interfaces) -> Result<Bound, BindError> {
    let mut tries_left = if plan.port == 0 { PORT_TRIES } else { 1 };
    loop {
        tries_left -= 1;
        match bind_once(plan, interfaces) {
            // The port that the system chose for one socket may be in use for another.
            Err(error) if tries_left > 0 && error.source.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
}

fn bind_once(plan: &Plan, interfaces: &Interfaces) -> Result<Bound, BindError> {
    if !plan.hosts.is_empty() {
        return bind_hosts(plan, &plan.hosts, interfaces);
    }
    match bind_hosts(plan, &[Ipv6Addr::UNSPECIFIED.into()], interfaces) {
        Err(error) if !plan.needs_ipv6 && has_no_ipv6(&error.source) => {
            bind_hosts(plan, &[Ipv4Addr::UNSPECIFIED.into()], interfaces)
        }
        result => result,
    }
}

/// Whether the system has no IPv6, or has it disabled.
fn has_no_ipv6(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable)
        || error.raw_os_error().is_some_and(|code| code == address_family_not_supported())
}

fn address_family_not_supported() -> i32 {
    // EAFNOSUPPORT has no `ErrorKind`.
    if cfg!(target_os = "linux") {
        97
    } else if cfg!(windows) {
        10047
    } else {
        47
    }
}

fn bind_hosts(plan: &Plan, hosts: &[IpAddr], interfaces: &Interfaces) -> Result<Bound, BindError> {
    let mut bound = Bound { udp: Vec::new(), tcp: Vec::new() };
    let mut port = plan.port;
    // An IPv6 wildcard also receives IPv4, unless an IPv4 address is listed separately.
    let only_v6 = hosts.iter().any(IpAddr::is_ipv4);
    let mut heard = BTreeSet::new();
    for (host, listener) in
        hosts.iter().flat_map(|it| plan.listeners.iter().map(move |to| (it, to)))
    {
        let address = SocketAddr::new(*host, port);
        match listener {
            PlannedListener::Udp { sockets } => {
                // All addresses have as many lanes as the first one got.
                let wanted = if bound.udp.is_empty() { *sockets } else { bound.udp.len() };
                let sockets = udp_sockets(address, only_v6, wanted)
                    .map_err(|error| BindError::new("udp", address, error))?;
                bound.udp.resize_with(bound.udp.len().max(sockets.len()), Vec::new);
                let own = sockets.first().and_then(|socket| socket.local_addr().ok());
                port = own.map_or(port, |address| address.port());
                let further = further_addresses(*host, port, interfaces);
                let further: Vec<_> = further.into_iter().filter(|it| heard.insert(*it)).collect();
                let count = u32::try_from(sockets.len()).unwrap_or(1);
                for ((index, socket), pairs) in (0..).zip(&sockets).zip(&mut bound.udp) {
                    let pair = UdpSocketPair::alone(socket, Lane { index, count });
                    for (address, link) in &further {
                        let receiver = system_socket(*address, true, Sharing::Group)
                            .and_then(|socket| listen(socket, *address))
                            .map_err(|error| BindError::new("udp", *address, error))?;
                        pairs.push(UdpSocketPair {
                            receiver,
                            only_link: Some(*link),
                            ..pair.clone()
                        });
                    }
                    pairs.push(pair);
                }
            }
            PlannedListener::Tcp => {
                let listener = tcp_socket(address, only_v6)
                    .map_err(|error| BindError::new("tcp", address, error))?;
                port = listener.local_addr().map_or(port, |address| address.port());
                bound.tcp.push(listener);
            }
        }
    }
    Ok(bound)
}

/// The additional addresses that a socket bound to one address needs in order to receive broadcasts
/// and multicasts on its link.
fn further_addresses(host: IpAddr, port: u16, interfaces: &Interfaces) -> Vec<(SocketAddr, u32)> {
    match host {
        host if host.is_unspecified() || host.is_loopback() => Vec::new(),
        IpAddr::V4(_) => broadcast_addresses(host, interfaces)
            .into_iter()
            .map(|(address, link)| (SocketAddr::from((address, port)), link))
            .collect(),
        IpAddr::V6(_) => {
            let link = interfaces.link_of(host);
            vec![(SocketAddrV6::new(MULTICAST_GROUP, port, 0, link).into(), link)]
        }
    }
}

/// The sockets that may share an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    /// None: a second registry must be rejected.
    Nobody,
    /// The sockets of this process, which divide the datagrams among themselves.
    OurOwn,
    /// Every registry on the link: each receives a copy of a multicast or broadcast.
    Group,
}

/// The sockets that serve one address: `count` of them, if the system can steer all datagrams of a
/// host to one of them.
fn udp_sockets(
    address: SocketAddr,
    only_v6: bool,
    count: usize,
) -> io::Result<Vec<Arc<DatagramSocket>>> {
    // Sharing would also admit the sockets of a second registry. So the first socket binds the
    // address exclusively, which fails if another program has it, and shares it only afterwards.
    // The first socket of a second registry then fails.
    let first = system_socket(address, only_v6, Sharing::Nobody)?;
    let port = first.local_addr()?.as_socket().map_or(0, |address| address.port());
    let address = SocketAddr::new(address.ip(), port);
    let granted = first.recv_buffer_size().unwrap_or(0);
    if granted < RECEIVE_BUFFER / 4 {
        info!(
            %address, wanted = RECEIVE_BUFFER, granted,
            "the receive buffer is small, so bursts may be lost; {RECEIVE_BUFFER_REMEDY}"
        );
    }
    let further = match further_sockets(&first, address, only_v6, count.clamp(1, MOST_SOCKETS)) {
        Ok(further) => further,
        Err(error) if count > 1 && MOST_SOCKETS > 1 => {
            // Without lanes, two sockets would serve the requests of one host out of order.
            info!(%address, %error, "one socket serves all datagrams: no steering by host");
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    let sockets = std::iter::once(first).chain(further);
    sockets.map(|socket| listen(socket, address)).collect()
}

/// The sockets after the `first` one.
fn further_sockets(
    first: &Socket,
    address: SocketAddr,
    only_v6: bool,
    count: usize,
) -> io::Result<Vec<Socket>> {
    if count == 1 {
        return Ok(Vec::new());
    }
    share_address(first)?;
    let further = (1..count).map(|_| system_socket(address, only_v6, Sharing::OurOwn));
    let further = further.collect::<io::Result<_>>()?;
    steer(first, u32::try_from(count).unwrap_or(1))?;
    Ok(further)
}

fn system_socket(address: SocketAddr, only_v6: bool, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_reuse_address(sharing == Sharing::Group)?;
    if sharing == Sharing::OurOwn {
        share_address(&socket)?;
    }
    enlarge_receive_buffer(&socket, RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen(socket: Socket, address: SocketAddr) -> io::Result<Arc<DatagramSocket>> {
    if let SocketAddr::V6(v6) = address
        && v6.ip().is_multicast()
    {
        socket.join_multicast_v6(v6.ip(), v6.scope_id())?;
    }
    DatagramSocket::new(UdpSocket::from(socket)).map(Arc::new)
}

fn tcp_socket(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // Closed connections of the previous run must not prevent a start.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    stamp_connections(&socket);
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests;
