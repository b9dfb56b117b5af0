//! Who asks, and which addresses mean anything to them.

use std::borrow::Cow;
use std::net::IpAddr;

use rpyc_protocol::registry::Port;

use super::Host;
use super::instance::{Instance, encode_entry};

/// By which way a request came, which decides how long an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// A datagram over IPv4.
    Udp4,
    /// A datagram over IPv6.
    Udp6,
    /// A TCP connection.
    Tcp,
}

impl Transport {
    /// The most bytes of an answer to QUERY: RPyC's clients read 1500, and over UDP an answer must
    /// not need fragments on an Ethernet.
    pub(crate) fn query_cap(self) -> usize {
        match self {
            Self::Udp4 => 1500 - 20 - 8,
            Self::Udp6 => 1500 - 40 - 8,
            Self::Tcp => 1500,
        }
    }

    /// The most bytes of an answer to LIST: what RPyC's clients read.
    pub(crate) fn list_cap(self) -> usize {
        match self {
            Self::Udp4 | Self::Udp6 => 15_000,
            Self::Tcp => 1500,
        }
    }
}

/// Who asks, and how they reached the registry.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "faces build it as a literal")]
pub struct Asker {
    /// Where the request came from.
    pub host: Host,
    /// Whether that is this machine: a loopback address or one of its own.
    pub is_here: bool,
    /// The address by which the asker reached the registry; for a broadcast or a multicast, the
    /// receiving interface's own. `None` where the system does not tell.
    pub reached: Option<IpAddr>,
    /// The interface by which the request came; 0 where the system does not tell.
    pub link: u32,
    /// By which way the request came.
    pub transport: Transport,
}

impl Asker {
    /// The addresses under which this asker can reach an instance, the best first; none if there is
    /// none.
    ///
    /// A server that registered by loopback runs on the registry's machine, so another machine is
    /// told the address by which it reached the registry. A link-local address is told to askers on
    /// its link only.
    pub(crate) fn addresses_of(&self, instance: &Instance) -> Vec<(String, Port)> {
        let told = instance.native.as_ref().map(|native| &*native.addresses).unwrap_or_default();
        if told.is_empty() {
            let text = self.address_of(instance.host);
            return text.map(|text| (text, instance.port.clone())).into_iter().collect();
        }
        let told = told.iter().filter_map(|address| {
            Some((self.address_of(Host::from(*address))?, Port::tcp(address.port()).ok()?))
        });
        told.collect()
    }

    fn address_of(&self, host: Host) -> Option<String> {
        let ip = host.ip();
        if ip.is_loopback() && !self.is_here {
            let reached = self.reached?.to_canonical();
            return (!reached.is_loopback()).then(|| reached.to_string());
        }
        if !host.is_link_local() {
            return Some(ip.to_string());
        }
        if self.is_here {
            // On this machine the zone is known, and without it nobody could connect.
            return Some(host.to_string());
        }
        (self.link == host.link()).then(|| ip.to_string())
    }

    /// The brine entry of an instance for this asker, or `None` if there is nothing to tell.
    pub(crate) fn entry_of<'a>(&self, instance: &'a Instance) -> Option<Cow<'a, [u8]>> {
        let ip = instance.host.ip();
        let is_the_same_for_all = !ip.is_loopback() && !instance.host.is_link_local();
        let has_one = instance.native.as_ref().is_none_or(|native| native.addresses.len() <= 1);
        if has_one && (is_the_same_for_all || (ip.is_loopback() && self.is_here)) {
            return Some(Cow::Borrowed(&instance.entry));
        }
        let (host, port) = self.addresses_of(instance).into_iter().next()?;
        let mut entry = Vec::new();
        encode_entry(&mut entry, &host, &port).ok()?;
        Some(Cow::Owned(entry))
    }
}
