//! The addresses at which an asker can reach an instance, the best first.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rpyc_protocol::registry::Port;

use super::Asker;
use super::address_rule::AddressRule;
use super::fragment::Fragment;
use super::instance::Instance;
use crate::host::Host;

/// Address rules and the registry's own addresses, by which registrants' addresses are adapted.
#[derive(Debug)]
pub(crate) struct Addressing {
    rules: Box<[AddressRule]>,
    /// The addresses of the registry's own machine, each with its network.
    own: RwLock<Arc<[IpNet]>>,
}

/// An address as an answer gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advertised {
    pub(crate) ip: IpAddr,
    /// The interface of the asker's own machine that the address belongs to; 0 if it needs no zone.
    pub(crate) zone: u32,
    pub(crate) port: Port,
}

impl Advertised {
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

    /// Replaces the addresses of the registry's own machine.
    pub(super) fn set_own(&self, own: Vec<IpNet>) {
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = own.into();
    }

    fn own(&self) -> Arc<[IpNet]> {
        Arc::clone(&self.own.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The addresses at which `asker` can reach an instance, the best first; empty if there are
    /// none.
    ///
    /// Each address is decided separately:
    ///
    /// * An asker outside the network of a matching rule gets the address that the rule names.
    /// * A loopback address means the registrant's machine. The registry knows that machine only if
    ///   it is its own. Askers elsewhere then get the address at which they reached the registry,
    ///   if the instance has no better one.
    /// * A link-local address is returned only on its link.
    ///
    /// Addresses in the asker's own network come first, then those of the asker's IP version. Apart
    /// from that, the registrant's order stays.
    pub(crate) fn addresses_of(&self, asker: &Asker, instance: &Instance) -> Vec<Advertised> {
        let own = self.own();
        let mut advertised: Vec<Advertised> = Vec::new();
        let mut loopback = None;
        for (host, port) in instance.addresses() {
            let address = match self.rule_for(asker, host.ip(), &own) {
                Some(rule) => Advertised { ip: rule.to(), zone: 0, port },
                None if host.ip().is_loopback() => {
                    if !(asker.is_here && is_here(instance, &own)) {
                        loopback.get_or_insert(port);
                        continue;
                    }
                    Advertised { ip: host.ip(), zone: 0, port }
                }
                None => match zone_for(asker, host) {
                    Some(zone) => Advertised { ip: host.ip(), zone, port },
                    None => continue,
                },
            };
            if !advertised.contains(&address) {
                advertised.push(address);
            }
        }
        if let Some(port) = loopback.filter(|_| advertised.is_empty() && is_here(instance, &own)) {
            advertised.extend(self.reached(asker, port, &own));
        }
        if advertised.len() > 1 {
            let near = Near::of(asker, &own);
            let is_ipv4 = asker.host.ip().is_ipv4();
            advertised.sort_by_key(|advertised| {
                (!near.has(advertised.ip), advertised.ip.is_ipv4() != is_ipv4)
            });
        }
        advertised
    }

    /// The address of an instance, as far as it is the same for many askers.
    pub(super) fn fragment_of(&self, instance: &Instance) -> Fragment {
        let ip = instance.host.ip();
        let has_rule = || self.rules.iter().any(|rule| rule.from().contains(&ip));
        if !instance.is_only_at_host() {
            Fragment::PerAsker
        } else if ip.is_loopback() {
            // Every asker on this machine is inside the network of any rule that covers loopback.
            match instance.is_legacy() {
                true => Fragment::here(&ip.to_string(), &instance.port),
                false => Fragment::PerAsker,
            }
        } else if has_rule() {
            Fragment::PerAsker
        } else if instance.host.is_link_local() {
            Fragment::OnLink(instance.host.link())
        } else if is_link_local(ip) {
            Fragment::PerAsker
        } else {
            Fragment::all(&ip.to_string(), &instance.port)
        }
    }

    /// The first address of an instance for this asker, or `None` if it has no address for them.
    pub(super) fn best_address(&self, asker: &Asker, instance: &Instance) -> Option<Advertised> {
        self.addresses_of(asker, instance).into_iter().next()
    }

    /// Whether an instance is at this address, as registered or as a rule replaces it.
    pub(super) fn is_at(&self, instance: &Instance, ip: IpAddr) -> bool {
        instance.is_at(ip)
            || self
                .networks_replaced_by(ip)
                .any(|network| instance.addresses().any(|(host, _)| network.contains(&host.ip())))
    }

    /// The networks whose addresses a rule replaces by this one.
    pub(super) fn networks_replaced_by(&self, ip: IpAddr) -> impl Iterator<Item = IpNet> {
        self.rules.iter().filter(move |rule| rule.to() == ip).map(AddressRule::from)
    }

    /// Whether `ip` is on a network of the registry's own machine.
    pub(crate) fn is_near(&self, ip: IpAddr) -> bool {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        ip.is_loopback() || is_link_local(ip) || own.iter().any(|own| own.contains(&ip))
    }

    /// Whether `ip` is an address of the registry's own machine.
    pub(crate) fn is_own(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.own().iter().any(|own| own.addr() == ip)
    }

    /// Whether a rule says that the registrant's network appears at `ip`, or that `ip` lies behind
    /// the registrant.
    pub(crate) fn is_translated(&self, registrant: &Asker, ip: IpAddr) -> bool {
        let from = registrant.host.ip();
        let is_at = |to: IpAddr| to == from || (registrant.is_here && self.is_own(to));
        self.rules.iter().any(|rule| {
            (rule.to() == ip && rule.from().contains(&from))
                || (rule.from().contains(&ip) && is_at(rule.to()))
        })
    }

    /// Whether an instance is on the registry's own machine and `ip` is an address of that machine.
    pub(crate) fn is_own_of(&self, instance: &Instance, ip: IpAddr) -> bool {
        let own = self.own();
        is_here(instance, &own) && (ip.is_loopback() || own.iter().any(|own| own.addr() == ip))
    }

    /// The rule that replaces `ip` for `asker`: the first that covers it, unless the asker is
    /// inside its network.
    fn rule_for(&self, asker: &Asker, ip: IpAddr, own: &[IpNet]) -> Option<&AddressRule> {
        let rule = self.rules.iter().find(|rule| rule.from().contains(&ip))?;
        let is_inside = rule.from().contains(&asker.host.ip())
            || (asker.is_here && own.iter().any(|own| rule.from().contains(&own.addr())));
        (!is_inside).then_some(rule)
    }

    /// The address at which `asker` reached the registry's machine.
    fn reached(&self, asker: &Asker, port: Port, own: &[IpNet]) -> Option<Advertised> {
        let reached = asker.reached?.to_canonical();
        let ip = self.rule_for(asker, reached, own).map_or(reached, AddressRule::to);
        (!ip.is_loopback()).then_some(Advertised { ip, zone: 0, port })
    }
}

/// Whether an instance was registered from the registry's own machine.
fn is_here(instance: &Instance, own: &[IpNet]) -> bool {
    let registrant = instance.registrant().ip();
    registrant.is_loopback() || own.iter().any(|own| own.addr() == registrant)
}

/// The zone of `host` as `asker` needs it; `None` if they cannot use the address.
fn zone_for(asker: &Asker, host: Host) -> Option<u32> {
    let is_on_link = |ip: IpAddr| is_link_local(ip) && ip.is_ipv4();
    if !is_link_local(host.ip()) {
        Some(0)
    } else if asker.is_here {
        // This machine knows the zone, and without it no program could connect.
        Some(host.link())
    } else if is_on_link(host.ip()) {
        // IPv4 has no zones; an asker with a link-local address is taken to be on the same link.
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
    /// All networks of the registry's machine, because the asker is on it.
    Here(&'a [IpNet]),
    /// An interface's network on the registry's machine, or a guess.
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

/// The network that an unknown address is most likely in.
fn usual_network(ip: IpAddr) -> IpNet {
    const IPV4_PREFIX: u8 = 24;
    const IPV6_PREFIX: u8 = 64;
    match ip {
        IpAddr::V4(ip) => Ipv4Net::new_assert(ip, IPV4_PREFIX).into(),
        IpAddr::V6(ip) => Ipv6Net::new_assert(ip, IPV6_PREFIX).into(),
    }
}
