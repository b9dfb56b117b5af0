//! The simulated instances: their names and hosts, the requests about them, and which replies are
//! right.

use std::net::Ipv4Addr;

use rpyc_protocol::brine::{EncodeError, Token, Tokens};
use rpyc_protocol::registry::{Names, Port, Request as Wire, reply};
use rpyc_protocol::{Limits, ServiceName};

use crate::error::LoadError;

/// The number of ports that an instance may have on its host.
const PORTS: u32 = u16::MAX as u32;

/// The hosts of the simulated instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hosts {
    /// On this machine, at whichever address the registry sees.
    This,
    /// On consecutive loopback addresses. The registry must listen on 127.x.y.z.
    Loopback {
        /// The first of them.
        first: Ipv4Addr,
        /// How many there are, at least 1.
        count: u32,
    },
}

impl Hosts {
    /// How many hosts there are.
    #[must_use]
    pub fn count(self) -> u32 {
        match self {
            Self::This => 1,
            Self::Loopback { count, .. } => count,
        }
    }

    /// The address of host number `host`; `None` if the system chooses it.
    pub(crate) fn address(self, host: u32) -> Option<Ipv4Addr> {
        match self {
            Self::This => None,
            Self::Loopback { first, .. } => Some(Ipv4Addr::from_bits(first.to_bits() + host)),
        }
    }

    /// The number of the host at the address `told`, which a reply contains.
    fn find(self, told: &str) -> Option<u32> {
        match self {
            Self::This => Some(0),
            Self::Loopback { first, count } => {
                let told: Ipv4Addr = told.parse().ok()?;
                told.to_bits().checked_sub(first.to_bits()).filter(|host| *host < count)
            }
        }
    }
}

/// A request of the load test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Which servers have the name of this number.
    Query(u32),
    /// Register or renew the instance of this number.
    Register(u32),
    /// Unregister the instance of this number.
    Unregister(u32),
    List,
}

/// The meaning of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Acknowledged,
    /// Instances of the name of this number, and no others.
    Serves(u32),
    /// An empty tuple: no servers or no names.
    Nobody,
    Names,
    /// An endpoint that was never registered here, or bytes that are not a reply of a registry.
    Alien,
}

/// Every instance and every request about it, encoded before the test starts.
///
/// Instance `i` is on host `i % hosts` at port `1 + i / hosts`, and serves name `i % names`. So a
/// reply to a query shows by itself which name it is about.
#[derive(Debug)]
pub(crate) struct Population {
    hosts: Hosts,
    instances: u32,
    names: u32,
    queries: Texts,
    registers: Texts,
    unregisters: Texts,
    list: Vec<u8>,
}

impl Population {
    /// A population of `instances` instances that share `names` names.
    ///
    /// # Errors
    /// [`LoadError`] if there are more instances than ports, or a name is too long.
    pub(crate) fn new(
        hosts: Hosts,
        instances: u32,
        names: u32,
        prefix: &ServiceName,
    ) -> Result<Self, LoadError> {
        let most = hosts.count().saturating_mul(PORTS);
        let too_many = || LoadError::TooManyInstances { hosts: hosts.count(), most };
        if instances > most {
            return Err(too_many());
        }
        let port = |number: u32| {
            u16::try_from(1 + number)
                .ok()
                .and_then(|port| Port::tcp(port).ok())
                .ok_or_else(too_many)
        };
        let names = names.min(instances);
        let name = |number: u32| ServiceName::new(&format!("{prefix}-{number}"));
        let (mut queries, mut registers) = (Texts::default(), Texts::default());
        let mut unregisters = Texts::default();
        for number in 0..names {
            queries.push(&Wire::Query { name: name(number)?.as_str() })?;
        }
        for number in 0..instances {
            let port = port(number / hosts.count())?;
            let name = [name(number % names)?];
            registers.push(&Wire::Register { names: Names::from(&name[..]), port })?;
        }
        for number in 0..instances.div_ceil(hosts.count()) {
            unregisters.push(&Wire::Unregister { port: port(number)? })?;
        }
        let mut list = Vec::new();
        Wire::List { host: None }.encode(&mut list)?;
        Ok(Self { hosts, instances, names, queries, registers, unregisters, list })
    }

    pub(crate) fn hosts(&self) -> Hosts {
        self.hosts
    }

    pub(crate) fn instances(&self) -> u32 {
        self.instances
    }

    pub(crate) fn names(&self) -> u32 {
        self.names
    }

    /// The bytes of a request.
    pub(crate) fn bytes(&self, request: Request) -> &[u8] {
        match request {
            Request::Query(name) => self.queries.get(name),
            Request::Register(instance) => self.registers.get(instance),
            Request::Unregister(instance) => self.unregisters.get(instance / self.hosts.count()),
            Request::List => &self.list,
        }
    }

    /// Decodes a reply.
    pub(crate) fn read(&self, bytes: &[u8]) -> Answer {
        if reply::is_acknowledgement(bytes) {
            return Answer::Acknowledged;
        }
        // A refusal to list is a valid reply too.
        if bytes == reply::FORBIDDEN {
            return Answer::Names;
        }
        self.read_tuple(bytes).unwrap_or(Answer::Alien)
    }

    fn read_tuple(&self, bytes: &[u8]) -> Option<Answer> {
        let mut tokens = Tokens::new(bytes, &Limits::REPLY).ok()?;
        let Token::Tuple(len) = tokens.next_token().ok()? else { return None };
        if len == 0 {
            return Some(Answer::Nobody);
        }
        let mut served = None;
        for place in 0..len {
            match tokens.next_token().ok()? {
                Token::Tuple(2) => {}
                Token::Str(_) if place == 0 => {
                    return reply::decode_names(bytes).ok().map(|_names| Answer::Names);
                }
                _ => return None,
            }
            let Token::Str(host) = tokens.next_token().ok()? else { return None };
            let Token::Int(port) = tokens.next_token().ok()? else { return None };
            let name = self.name_of(host, u32::try_from(port.to_i64()?).ok()?)?;
            if *served.get_or_insert(name) != name {
                return None;
            }
        }
        served.map(Answer::Serves)
    }

    /// The number of the name that the instance at this host and port serves.
    fn name_of(&self, host: &str, port: u32) -> Option<u32> {
        let instance = port.checked_sub(1)?.checked_mul(self.hosts.count())?;
        let instance = instance.checked_add(self.hosts.find(host)?)?;
        (instance < self.instances).then_some(instance % self.names)
    }
}

/// Byte strings in one buffer, found by number.
#[derive(Debug, Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    fn push(&mut self, request: &Wire<'_>) -> Result<(), EncodeError> {
        request.encode(&mut self.bytes)?;
        self.ends.push(self.bytes.len());
        Ok(())
    }

    fn get(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let start = number.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        let end = self.ends.get(number).copied().unwrap_or(0);
        self.bytes.get(start.unwrap_or(0)..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use rpyc_protocol::brine::Value;

    use super::*;

    fn population() -> Population {
        let hosts = Hosts::Loopback { first: [127, 64, 0, 1].into(), count: 2 };
        Population::new(hosts, 10, 2, &ServiceName::new("x").unwrap()).unwrap()
    }

    fn encoded(value: &Value) -> Vec<u8> {
        value.to_bytes().unwrap()
    }

    fn endpoints(all: &[(&str, i64)]) -> Vec<u8> {
        let pair = |(host, port): &(&str, i64)| Value::Tuple(vec![(*host).into(), (*port).into()]);
        encoded(&Value::Tuple(all.iter().map(pair).collect()))
    }

    #[test]
    fn requests_are_those_of_rpyc() {
        let population = population();
        let read = |request| {
            format!("{:?}", Wire::decode(population.bytes(request), &Limits::REQUEST).unwrap())
        };
        assert_eq!(read(Request::Query(1)), r#"Query { name: "X-1" }"#);
        assert_eq!(read(Request::Unregister(9)), "Unregister { port: 5 }");
        assert_eq!(read(Request::Unregister(0)), "Unregister { port: 1 }");
        assert_eq!(read(Request::List), "List { host: None }");
        let Ok(Wire::Register { names, port }) =
            Wire::decode(population.bytes(Request::Register(9)), &Limits::REQUEST)
        else {
            panic!("no REGISTER");
        };
        assert_eq!((names.collect::<Vec<_>>(), port), (vec!["X-1"], Port::tcp(5).unwrap()));
    }

    #[test]
    fn an_answer_tells_what_it_is_about() {
        let population = population();
        let told = |all: &[(&str, i64)]| population.read(&endpoints(all));
        // With two names on two hosts, all instances of one name are on one host.
        assert_eq!(told(&[("127.64.0.2", 1), ("127.64.0.2", 5)]), Answer::Serves(1));
        assert_eq!(told(&[("127.64.0.1", 3)]), Answer::Serves(0));
        assert_eq!(told(&[]), Answer::Nobody);
        assert_eq!(population.read(reply::ACKNOWLEDGEMENT), Answer::Acknowledged);
        assert_eq!(population.read(reply::FORBIDDEN), Answer::Names);
        let names = encoded(&Value::Tuple(vec!["X-0".into()]));
        assert_eq!(population.read(&names), Answer::Names);
        for alien in [
            &[("127.64.0.1", 1), ("127.64.0.2", 1)][..],
            &[("127.64.0.3", 1)],
            &[("127.64.0.0", 1)],
            &[("127.64.0.1", 6)],
            &[("127.64.0.1", 0)],
            &[("somewhere", 1)],
        ] {
            assert_eq!(told(alien), Answer::Alien, "{alien:?}");
        }
        let whole = endpoints(&[("127.64.0.1", 3)]);
        for len in 0..whole.len() {
            assert_eq!(population.read(&whole[..len]), Answer::Alien, "{len}");
        }
    }

    #[test]
    fn a_host_has_as_many_instances_as_ports() {
        let name = ServiceName::new("x").unwrap();
        Population::new(Hosts::This, 65_535, 1, &name).unwrap();
        let error = Population::new(Hosts::This, 65_536, 1, &name).unwrap_err();
        assert!(matches!(error, LoadError::TooManyInstances { hosts: 1, most: 65_535 }), "{error}");
    }
}
