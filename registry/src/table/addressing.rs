//! Under which addresses an asker can reach an instance, the best first.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rpyc_protocol::registry::Port;

use super::address_rule::AddressRule;
use super::fragment::{self, Audience, Fragment};
use super::instance::Instance;
use super::{Asker, Host};

/// What is known about addresses besides what registrants tell.
#[derive(Debug)]
pub(crate) struct Addressing {
    rules: Box<[AddressRule]>,
    /// The addresses of the registry's own machine, each with its network.
    own: RwLock<Arc<[IpNet]>>,
}

/// An address as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) ip: IpAddr,
    /// The interface of the asker's own machine that it belongs to; 0 if it needs none to be named.
    pub(crate) zone: u32,
    pub(crate) port: Port,
}

impl Told {
    /// The address without the port.
    pub(crate) fn host(&self) -> String {
        match self.zone {
            0 => self.ip.to_string(),
            zone => format!("{}%{zone}", self.ip),
        }
    }
}

impl Addressing {
    pub(super) fn new(rules: Vec<AddressRule>) -> Self {
        Self { rules: rules.into(), own: RwLock::new(Arc::new([])) }
    }

    /// Takes note of the addresses that the registry's own machine has now.
    pub(super) fn set_own(&self, own: Vec<IpNet>) {
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = own.into();
    }

    fn own(&self) -> Arc<[IpNet]> {
        Arc::clone(&self.own.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The addresses under which `asker` can reach an instance, the best first; none if there is none.
    ///
    /// What is told is decided address by address:
    ///
    /// * One that a rule speaks of is told as the rule says to who is outside.
    /// * A loopback address means the registrant's machine, which can be told from others only if it is
    ///   the registry's own. Askers elsewhere are then told the address by which they reached it, if
    ///   there is no better one.
    /// * A link-local address is told on its link only.
    ///
    /// Those in the asker's own network come first, then those of the asker's IP version; apart from
    /// that the registrant's order stays.
    pub(crate) fn addresses_of(&self, asker: &Asker, instance: &Instance) -> Vec<Told> {
        let own = self.own();
        let mut told: Vec<Told> = Vec::new();
        let mut loopback = None;
        for (host, port) in instance.addresses() {
            let address = match self.rule_for(asker, host.ip(), &own) {
                Some(rule) => Told { ip: rule.to(), zone: 0, port },
                None if host.ip().is_loopback() => {
                    if !(asker.is_here && is_here(instance, &own)) {
                        loopback.get_or_insert(port);
                        continue;
                    }
                    Told { ip: host.ip(), zone: 0, port }
                }
                None => match zone_for(asker, host) {
                    Some(zone) => Told { ip: host.ip(), zone, port },
                    None => continue,
                },
            };
            if !told.contains(&address) {
                told.push(address);
            }
        }
        if let Some(port) = loopback.filter(|_| told.is_empty() && is_here(instance, &own)) {
            told.extend(self.reached(asker, port, &own));
        }
        if told.len() > 1 {
            let near = Near::of(asker, &own);
            let is_ipv4 = asker.host.ip().is_ipv4();
            told.sort_by_key(|told| (!near.has(told.ip), told.ip.is_ipv4() != is_ipv4));
        }
        told
    }

    /// What all those are told of an instance who are told the same.
    pub(super) fn fragment_of(&self, instance: &Instance) -> Fragment {
        let ip = instance.host.ip();
        let audience = if !instance.is_only_at_host() {
            Audience::Nobody
        } else if ip.is_loopback() {
            // Somebody on this machine is inside of whatever loopback is in.
            if instance.is_legacy() { Audience::Here } else { Audience::Nobody }
        } else if is_link_local(ip) || self.rules.iter().any(|rule| rule.from().contains(&ip)) {
            Audience::Nobody
        } else {
            Audience::All
        };
        Fragment::new(audience, &ip.to_string(), &instance.port)
    }

    /// The brine entry of an instance for this asker, or `None` if there is nothing to tell.
    pub(super) fn entry_of(&self, asker: &Asker, instance: &Instance) -> Option<Vec<u8>> {
        let told = self.addresses_of(asker, instance).into_iter().next()?;
        let mut entry = Vec::new();
        fragment::encode(&mut entry, &told.host(), &told.port).ok()?;
        Some(entry)
    }

    /// Whether an instance is at this address, by its own account or as rules tell it.
    pub(super) fn is_at(&self, instance: &Instance, ip: IpAddr) -> bool {
        instance.is_at(ip)
            || self
                .networks_told_as(ip)
                .any(|network| instance.addresses().any(|(host, _)| network.contains(&host.ip())))
    }

    /// The networks whose addresses are told as this one.
    pub(super) fn networks_told_as(&self, ip: IpAddr) -> impl Iterator<Item = IpNet> {
        self.rules.iter().filter(move |rule| rule.to() == ip).map(AddressRule::from)
    }

    /// Whether an instance is on the registry's own machine, and `ip` an address of that.
    pub(crate) fn is_own_of(&self, instance: &Instance, ip: IpAddr) -> bool {
        let own = self.own();
        is_here(instance, &own) && (ip.is_loopback() || own.iter().any(|own| own.addr() == ip))
    }

    /// The rule by which `ip` is told otherwise to `asker`: the first that speaks of it, unless the
    /// asker is inside.
    fn rule_for(&self, asker: &Asker, ip: IpAddr, own: &[IpNet]) -> Option<&AddressRule> {
        let rule = self.rules.iter().find(|rule| rule.from().contains(&ip))?;
        let is_inside = rule.from().contains(&asker.host.ip())
            || (asker.is_here && own.iter().any(|own| rule.from().contains(&own.addr())));
        (!is_inside).then_some(rule)
    }

    /// The address by which `asker` reached the registry's machine.
    fn reached(&self, asker: &Asker, port: Port, own: &[IpNet]) -> Option<Told> {
        let reached = asker.reached?.to_canonical();
        let ip = self.rule_for(asker, reached, own).map_or(reached, AddressRule::to);
        (!ip.is_loopback()).then_some(Told { ip, zone: 0, port })
    }
}

/// Whether an instance was registered from the registry's own machine.
fn is_here(instance: &Instance, own: &[IpNet]) -> bool {
    let registrant = instance.registrant().ip();
    registrant.is_loopback() || own.iter().any(|own| own.addr() == registrant)
}

/// The zone with which `host` is told to `asker`; `None` if it means nothing to them.
fn zone_for(asker: &Asker, host: Host) -> Option<u32> {
    let is_on_link = |ip: IpAddr| is_link_local(ip) && ip.is_ipv4();
    if !is_link_local(host.ip()) {
        Some(0)
    } else if asker.is_here {
        // On this machine the zone is known, and without it nobody could connect.
        Some(host.link())
    } else if is_on_link(host.ip()) {
        // IPv4 names no links; who has such an address is on one that has them.
        is_on_link(asker.host.ip()).then_some(0)
    } else {
        (asker.link == host.link()).then_some(0)
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// The network that an asker is in.
enum Near<'a> {
    /// All networks of the registry's machine, on which the asker is.
    Here(&'a [IpNet]),
    /// As the registry's machine has it, or a guess.
    Network(IpNet),
}

impl<'a> Near<'a> {
    fn of(asker: &Asker, own: &'a [IpNet]) -> Self {
        if asker.is_here {
            return Self::Here(own);
        }
        let ip = asker.host.ip();
        let known = own.iter().filter(|network| network.contains(&ip));
        let smallest = known.max_by_key(|network| network.prefix_len()).copied();
        Self::Network(smallest.unwrap_or_else(|| usual_network(ip)))
    }

    fn has(&self, ip: IpAddr) -> bool {
        match self {
            Self::Here(own) => ip.is_loopback() || own.iter().any(|own| own.contains(&ip)),
            Self::Network(network) => network.contains(&ip),
        }
    }
}

/// The network that an address is most likely in, where nothing is known about it.
fn usual_network(ip: IpAddr) -> IpNet {
    const IPV4_PREFIX: u8 = 24;
    const IPV6_PREFIX: u8 = 64;
    match ip {
        IpAddr::V4(ip) => Ipv4Net::new_assert(ip, IPV4_PREFIX).into(),
        IpAddr::V6(ip) => Ipv6Net::new_assert(ip, IPV6_PREFIX).into(),
    }
}
