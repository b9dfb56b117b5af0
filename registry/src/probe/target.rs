//! What may be connected to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

use super::ProbeConfig;
use crate::table::{Asker, Directory, Host, Instance, Transport};

/// The addresses of an instance that may be probed, the best first.
///
/// A registrant may write any address into its registration, so a registry that connected to all of
/// them would scan ports for anybody who asks. Allowed are: the address that the registration came
/// from; if it came from the registry's own machine, all addresses of that; and what the operator
/// allows. A path of a unix socket never is.
pub(crate) fn allowed(
    directory: &Directory,
    instance: &Instance,
    config: &ProbeConfig,
) -> Vec<SocketAddr> {
    let here = Asker {
        host: Host::new(Ipv4Addr::LOCALHOST.into(), 0),
        is_here: true,
        reached: None,
        link: 0,
        transport: Transport::Tcp,
    };
    let told = directory.addressing.addresses_of(&here, instance).into_iter();
    let is_allowed = |host: Host| {
        host == instance.registrant()
            || directory.addressing.is_own_of(instance, host.ip())
            || config.allows(host.ip())
    };
    told.filter_map(|told| {
        let port = told.port.to_tcp()?;
        is_allowed(Host::new(told.ip, told.zone)).then(|| match told.ip {
            IpAddr::V4(_) => SocketAddr::new(told.ip, port),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, told.zone).into(),
        })
    })
    .collect()
}
