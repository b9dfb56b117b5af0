//! The configuration of a registry.

use std::net::IpAddr;

use rpyc_protocol::registry::REGISTRY_PORT;

use crate::access::Access;
use crate::net::{Plan, PlannedListener};
use crate::probe::ProbeConfig;
use crate::table::TableConfig;

/// How a registry is set up. The default is a working one.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a literal with `..Config::default()` stays valid")]
pub struct Config {
    /// Addresses to listen on. Empty, the default, means all addresses of both families.
    pub hosts: Vec<IpAddr>,
    /// The port, the same for all. Default 18811; 0 lets the system choose.
    pub port: u16,
    /// Fail rather than do without IPv6. Default false.
    pub needs_ipv6: bool,
    /// Whether to serve UDP. Default true.
    pub udp: bool,
    /// How many sockets share out the datagrams that are sent to one address, each served by a task of
    /// its own, so that as many cores can be busy with them; at most 8, and one where the system cannot
    /// share them out (all but Linux). Default: one for each core that this process may use.
    pub udp_sockets: usize,
    /// Whether to serve TCP. Default true.
    pub tcp: bool,
    /// Leases, their protection, and what is taken from everybody and from each.
    pub table: TableConfig,
    /// Who may do what only some may.
    pub access: Access,
    /// What is probed, and how. Default: nothing.
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
