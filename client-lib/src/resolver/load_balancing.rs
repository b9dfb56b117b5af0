//! Which server is tried first: no clock, no socket, randomness as an argument.

use std::cmp::Reverse;
use std::collections::HashMap;

use rpyc_protocol::registry::native::{MAX_WEIGHT, State};
use rpyc_protocol::registry::reply::Endpoint;

use crate::Instance;

/// How the server to connect to is chosen among those that are equally good.
///
/// Passing servers come before suspect ones, and those before failing ones; draining ones are not
/// used. Servers of weight 0 come after all others, and those that could not be connected to lately
/// last. With a [zone](super::ResolverBuilder::zone), servers in it come before equally good ones
/// elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadBalancing {
    /// By chance, in proportion to weight. Needs to know nothing, and many clients spread evenly.
    #[default]
    WeightedRandom,
    /// In turn, in proportion to weight.
    RoundRobin,
    /// The one with the fewest connections that this resolver has made and that are still open, for
    /// its weight. For connections of very different lengths.
    LeastConnections,
    /// Of two by chance, the one with fewer connections for its weight: nearly as even as
    /// [`LeastConnections`](Self::LeastConnections), and many clients do not all choose the same.
    PowerOfTwo,
}

/// Knowledge about a server beyond its registry's.
pub(super) trait Load {
    /// Whether it could not be connected to lately.
    fn is_ejected(&self, endpoint: &Endpoint) -> bool;
    /// How many connections to it are open.
    fn connections(&self, endpoint: &Endpoint) -> usize;
}

/// How far round robin has come.
#[derive(Debug, Default)]
pub(super) struct Turns(HashMap<Endpoint, i64>);

impl Turns {
    pub(super) fn retain(&mut self, is_there: impl Fn(&Endpoint) -> bool) {
        self.0.retain(|endpoint, _| is_there(endpoint));
    }

    /// Gives the next turn to one of a group, in proportion to weight and as evenly as can be: all
    /// gain their weight, the one with most pays for all. The others follow in their order.
    fn next(&mut self, group: &mut [&Instance]) {
        let total: i64 = group.iter().map(|it| i64::from(weight(it))).sum();
        for instance in &*group {
            let credit = self.0.entry(instance.endpoint.clone()).or_default();
            *credit += i64::from(weight(instance));
        }
        let credit = |it: &Instance| self.0.get(&it.endpoint).copied().unwrap_or_default();
        group.sort_by_key(|it| Reverse(credit(it)));
        if let Some(first) = group.first() {
            *self.0.entry(first.endpoint.clone()).or_default() -= total;
        }
    }
}

impl LoadBalancing {
    /// The usable servers, the first to try first.
    ///
    /// `random` gives numbers from 0 to 1, 1 excluded.
    pub(super) fn order<'a>(
        self,
        instances: impl Iterator<Item = &'a Instance>,
        zone: Option<&str>,
        load: &impl Load,
        turns: &mut Turns,
        mut random: impl FnMut() -> f64,
    ) -> Vec<&'a Instance> {
        let rank = |it: &Instance| {
            let is_elsewhere = zone.is_some() && it.details.zone.as_deref() != zone;
            let is_ejected = load.is_ejected(&it.endpoint);
            (is_ejected, weight(it) == 0, badness(it.state), is_elsewhere)
        };
        let usable = instances.filter(|it| it.state != State::Draining);
        // By chance first, so that equal servers come in any order.
        let mut usable: Vec<_> = usable.map(|it| (rank(it), lot(it, random()), it)).collect();
        usable.sort_by(|(rank, lot, _), (other_rank, other_lot, _)| {
            rank.cmp(other_rank).then_with(|| lot.total_cmp(other_lot))
        });
        let Some(&(best, ..)) = usable.first() else { return Vec::new() };
        let n = usable.iter().take_while(|(rank, ..)| *rank == best).count();
        let mut ordered: Vec<_> = usable.into_iter().map(|(.., instance)| instance).collect();
        let group = ordered.get_mut(..n).unwrap_or_default();
        let by_load = |it: &&Instance| {
            // Scaled, as weights divide; one more, so that the heavier of two idle ones is first.
            let open = u64::try_from(load.connections(&it.endpoint)).unwrap_or(u64::MAX);
            open.saturating_add(1).saturating_mul(1 << 16) / u64::from(weight(it).max(1))
        };
        match self {
            Self::WeightedRandom => {}
            Self::RoundRobin => {
                group.sort_by(|a, b| (&a.endpoint.host, port(a)).cmp(&(&b.endpoint.host, port(b))));
                turns.next(group);
            }
            Self::LeastConnections => group.sort_by_key(by_load),
            Self::PowerOfTwo => group.get_mut(..n.min(2)).unwrap_or_default().sort_by_key(by_load),
        }
        ordered
    }
}

/// Sorting by it draws without replacement, in proportion to weight (Efraimidis and Spirakis).
fn lot(instance: &Instance, chance: f64) -> f64 {
    -(1.0 - chance).ln() / f64::from(weight(instance).max(1))
}

/// The weight that a server announced, up to the greatest that this project's registry takes.
fn weight(instance: &Instance) -> u16 {
    instance.details.weight.unwrap_or(1).min(MAX_WEIGHT)
}

fn port(instance: &Instance) -> String {
    instance.endpoint.port.to_string()
}

fn badness(state: State) -> u8 {
    match state {
        State::Passing => 0,
        State::Failing => 2,
        // Of a later version: neither good nor bad.
        _ => 1,
    }
}

#[cfg(test)]
mod tests;
