//! Decides which addresses a registrant may announce.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::table::{Addressing, Asker};

/// An operator's permission for the registrants of one network to announce addresses in another,
/// which they could not prove to be theirs. An example is the outer address of a NAT.
///
/// Written `REGISTRANTS=ADDRESSES` on the command line, and with these two keys in a configuration
/// file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressGrant {
    registrants: IpNet,
    addresses: IpNet,
}

impl AddressGrant {
    /// A permission for registrations from `registrants`.
    #[must_use]
    pub fn new(registrants: IpNet, addresses: IpNet) -> Self {
        Self { registrants, addresses }
    }

    fn allows(&self, registrant: IpAddr, address: IpAddr) -> bool {
        self.registrants.contains(&registrant) && self.addresses.contains(&address)
    }
}

impl FromStr for AddressGrant {
    type Err = AddressGrantError;

    fn from_str(text: &str) -> Result<Self, AddressGrantError> {
        let network = |text: &str| {
            let text = text.trim();
            text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()
        };
        let read = || {
            let (registrants, addresses) = text.split_once('=')?;
            Some(Self::new(network(registrants)?, network(addresses)?))
        };
        read().ok_or_else(|| AddressGrantError(text.into()))
    }
}

impl fmt::Display for AddressGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.registrants, self.addresses)
    }
}

/// A text that is not a valid [`AddressGrant`]; the fault of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid networks {0:?}: write REGISTRANTS=ADDRESSES, like 10.0.5.0/24=192.0.2.0/24")]
pub struct AddressGrantError(Box<str>);

/// The facts that decide which addresses a registrant may announce.
pub(crate) struct Announcing<'a, P> {
    pub(crate) asker: &'a Asker,
    pub(crate) grants: &'a [AddressGrant],
    pub(crate) addressing: &'a Addressing,
    /// Whether a cookie proves that the registrant receives datagrams at a host.
    pub(crate) is_proven: P,
}

impl<P: Fn(Host) -> bool> Announcing<'_, P> {
    /// Whether the registrant has shown that it is `host`: its registration came from there, it
    /// fetched a proof from there, or both are the registry's own machine.
    pub(crate) fn is_holder(&self, host: Host) -> bool {
        let is_here = self.asker.is_here && self.addressing.is_own(host.ip());
        self.asker.host == host || is_here || (!host.ip().is_loopback() && (self.is_proven)(host))
    }

    /// Whether the registrant may announce an instance at `host`.
    pub(crate) fn allows(&self, host: Host) -> bool {
        let (registrant, ip) = (self.asker.host.ip(), host.ip());
        // A loopback or link-local address does not say which machine it belongs to.
        let is_local = match ip {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
        };
        let is_granted = || self.grants.iter().any(|grant| grant.allows(registrant, ip));
        let is_translated = || self.addressing.is_translated(self.asker, ip);
        self.is_holder(host) || (!is_local && (is_granted() || is_translated()))
    }
}
