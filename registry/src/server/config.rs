//! The configuration of a registry.

use std::net::IpAddr;

use rpyc_protocol::registry::REGISTRY_PORT;

use crate::access::Access;
use crate::net::{OperatorSocket, Plan, PlannedListener};
use crate::probe::ProbeConfig;
use crate::table::TableConfig;

/// The configuration of a registry. The default works.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a literal with `..Config::default()` stays valid")]
pub struct Config {
    /// Addresses to listen on. Empty, the default, means all addresses of both families.
    pub hosts: Vec<IpAddr>,
    /// The port, the same for all. Default 18811; 0 lets the system choose.
    pub port: u16,
    /// Whether to fail without IPv6. Default false.
    pub needs_ipv6: bool,
    /// Whether to serve UDP. Default true.
    pub udp: bool,
    /// The number of sockets that share the datagrams to one address. Each has a separate task, so
    /// that as many cores can serve them. At most 8, and one where the system cannot distribute
    /// datagrams (all but Linux). Default: one for each core that this process may use.
    pub udp_sockets: usize,
    /// Whether to serve TCP. Default true.
    pub tcp: bool,
    /// Where operators of this machine reach the registry. Default: nowhere.
    pub operator_socket: Option<OperatorSocket>,
    /// Leases, their protection, and the limits in all and for each machine.
    pub table: TableConfig,
    /// Rights that only some askers have.
    pub access: Access,
    /// Which addresses to probe, and how. Default: none.
    pub probes: ProbeConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            port: REGISTRY_PORT,
            needs_ipv6: false,
            udp: true,
            udp_sockets: std::thread::available_parallelism().map_or(1, usize::from),
            tcp: true,
            operator_socket: None,
            table: TableConfig::default(),
            access: Access::default(),
            probes: ProbeConfig::default(),
        }
    }
}

impl Config {
    /// The sockets to bind.
    pub(super) fn plan(&self) -> Plan {
        let udp = self.udp.then_some(PlannedListener::Udp { sockets: self.udp_sockets });
        let tcp = self.tcp.then_some(PlannedListener::Tcp);
        Plan {
            hosts: self.hosts.clone(),
            port: self.port,
            needs_ipv6: self.needs_ipv6,
            listeners: udp.into_iter().chain(tcp).collect(),
        }
    }
}
