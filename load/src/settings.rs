//! The settings of a load test.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use rpyc_protocol::ServiceName;

use crate::population::Hosts;

/// The largest weight, so that a sum of weights does not overflow.
const MAX_WEIGHT: u32 = 1_000_000;

/// The settings of a load test.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The registry. It receives every request, so no other client may depend on it.
    pub target: SocketAddr,
    /// The simulated hosts.
    pub hosts: Hosts,
    /// How many instances there are, at least 1.
    pub instances: u32,
    /// How many names the instances share evenly, at least 1.
    pub names: u32,
    /// The prefix of every name.
    pub prefix: ServiceName,
    /// How many sockets send, at least 1. It is rounded to a multiple of the hosts.
    pub sources: u32,
    /// How many threads share the sockets, at least 1. Each keeps one core busy.
    pub threads: u32,
    /// The mix of requests in the measured load.
    pub mix: Mix,
    /// How long the measured load lasts.
    pub duration: Duration,
    /// Requests a second at fixed times, or `None`: as many as the registry answers.
    pub rate: Option<u32>,
    /// Without a rate: how many requests wait for a reply at a time.
    pub window: u32,
    /// How long a request waits for its reply before it counts as lost.
    pub timeout: Duration,
}

impl Settings {
    /// A thousand instances of 200 names on this machine, and ten seconds of queries and renewals,
    /// as fast as the registry answers.
    #[must_use]
    pub fn new(target: SocketAddr, prefix: ServiceName) -> Self {
        Self {
            target,
            hosts: Hosts::This,
            instances: 1000,
            names: 200,
            prefix,
            sources: 16,
            threads: 1,
            mix: Mix { query: 90, register: 10, list: 0 },
            duration: Duration::from_secs(10),
            rate: None,
            window: 128,
            timeout: Duration::from_secs(2),
        }
    }

    /// How many sockets to open: a multiple of the hosts, so that source `i` sends for the
    /// instances `i`, `i + sources`, ...
    pub(crate) fn sources(&self) -> u32 {
        let hosts = self.hosts.count();
        (self.sources.min(self.instances) / hosts).max(1) * hosts
    }
}

/// How often each kind of request is made, by weight.
///
/// ```
/// let mix: rpyc_load::Mix = "query=90,register=10".parse()?;
/// assert_eq!((mix.query, mix.register, mix.list), (90, 10, 0));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mix {
    /// Queries of one name.
    pub query: u32,
    /// Renewals.
    pub register: u32,
    /// Queries of all names.
    pub list: u32,
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mix = Self { query: 0, register: 0, list: 0 };
        for part in text.split(',') {
            let (kind, weight) = part.split_once('=').ok_or("write KIND=WEIGHT")?;
            let weight = weight.trim().parse().ok().filter(|weight| *weight <= MAX_WEIGHT);
            let weight = weight.ok_or("a weight is a whole number up to a million")?;
            match kind.trim() {
                "query" => mix.query = weight,
                "register" => mix.register = weight,
                "list" => mix.list = weight,
                _ => return Err("the kinds are query, register and list".to_owned()),
            }
        }
        if mix.sum() == 0 { Err("nothing would be asked".to_owned()) } else { Ok(mix) }
    }
}

impl Mix {
    /// The sum of all weights.
    pub(crate) fn sum(self) -> u32 {
        self.query + self.register + self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_has_weights_of_kinds() {
        let mix = |query, register, list| Ok(Mix { query, register, list });
        assert_eq!("query=90,register=10,list=0".parse(), mix(90, 10, 0));
        assert_eq!("list=1".parse(), mix(0, 0, 1));
        for text in ["", "query", "query=", "query=-1", "query=0", "ping=1", "query=1000001"] {
            text.parse::<Mix>().unwrap_err();
        }
    }
}
