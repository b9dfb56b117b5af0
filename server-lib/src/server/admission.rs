//! Which clients are let in: how many in all, and of each source address.
//!
//! A connection that has sent a valid message stays for as long as it likes. One that has not must
//! give way when its place is needed, so that hosts that connect and say nothing lock nobody out.

mod shares;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use rpyc_client::{FirstMessage, Peer};
use tokio::sync::SetOnce;

pub(super) use shares::Shares;

use super::throttle::Topic;
use crate::lock::lock;

/// How many connections of one address may take reserved places.
pub(super) const RESERVED_EACH: usize = 8;

/// The source that a connection counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// An IPv4 address, or a network of 64 bits.
    Ip(IpAddr),
    /// The users of this machine, over unix sockets.
    Unix,
}

impl Source {
    pub(super) fn of(peer: &Peer) -> Self {
        peer.source().map_or(Self::Unix, Self::Ip)
    }

    /// Whether it is on this machine.
    pub(super) fn is_local(self) -> bool {
        match self {
            // That of ::1 is all zeros.
            Self::Ip(IpAddr::V6(network)) => network.is_unspecified(),
            Self::Ip(IpAddr::V4(ip)) => ip.is_loopback(),
            Self::Unix => true,
        }
    }
}

/// Lets clients in, and remembers those that are here. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Admission(Arc<Mutex<Places>>);

/// Why a client is not let in: the limit that it would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) topic: Topic,
    pub(super) limit: usize,
}

/// The place of one client; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Admission,
    source: Source,
    id: u64,
    seat: Seat,
}

/// What the connection and the admission know of each other.
#[derive(Clone, Debug, Default)]
struct Seat {
    first_message: FirstMessage,
    /// Set when the connection must give way to another.
    displaced: Arc<SetOnce<()>>,
}

#[derive(Debug)]
struct Places {
    shares: Shares,
    next: u64,
    total: usize,
    sources: HashMap<Source, Clients>,
}

/// The clients of one source.
#[derive(Debug, Default)]
struct Clients {
    total: usize,
    /// Those that may have said nothing yet, the oldest first.
    silent: BTreeMap<u64, Seat>,
}

impl Admission {
    pub(super) fn new(shares: Shares) -> Self {
        let places = Places { shares, next: 0, total: 0, sources: HashMap::new() };
        Self(Arc::new(Mutex::new(places)))
    }

    /// Lets a client in, perhaps in the place of one that has said nothing.
    ///
    /// # Errors
    /// [`Refused`] with the limit that stands in the way.
    pub(super) fn admit(&self, source: Source) -> Result<Permit, Refused> {
        let (id, seat) = lock(&self.0).admit(source)?;
        Ok(Permit { admission: self.clone(), source, id, seat })
    }

    /// Makes a client give way that has said nothing, if there is one.
    pub(super) fn make_room(&self) {
        // If there is none, those that are served go on.
        let _ = lock(&self.0).displace_any();
    }
}

impl Permit {
    pub(super) fn first_message(&self) -> &FirstMessage {
        &self.seat.first_message
    }

    /// Waits until the connection must give way to another.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn displaced(&self) {
        self.seat.displaced.wait().await;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut places = lock(&self.admission.0);
        // The place of one that gave way is taken.
        if !self.seat.displaced.initialized() {
            places.free(self.source, self.id);
        }
    }
}

impl Places {
    fn admit(&mut self, source: Source) -> Result<(u64, Seat), Refused> {
        let held = self.sources.get(&source).map_or(0, |clients| clients.total);
        let limit = self.shares.limit_of(source);
        if held >= limit {
            self.displace(source).ok_or(Refused { topic: Topic::TooManyOfAddress, limit })?;
        } else if self.total >= self.shares.most() {
            let limit = self.shares.most();
            self.displace_any().ok_or(Refused { topic: Topic::TooMany, limit })?;
        } else if self.total >= self.shares.unreserved() && held >= RESERVED_EACH {
            let limit = self.shares.unreserved();
            self.displace_any().ok_or(Refused { topic: Topic::Reserved, limit })?;
        }
        self.next += 1;
        let (id, seat) = (self.next, Seat::default());
        let clients = self.sources.entry(source).or_default();
        clients.total += 1;
        clients.silent.insert(id, seat.clone());
        self.total += 1;
        Ok((id, seat))
    }

    /// Takes the place of the oldest connection of `source` that has said nothing.
    fn displace(&mut self, source: Source) -> Option<()> {
        let clients = self.sources.get_mut(&source)?;
        clients.forget_those_that_spoke();
        let (id, seat) = clients.silent.pop_first()?;
        // Once is enough.
        let _ = seat.displaced.set(());
        self.free(source, id);
        Some(())
    }

    /// The same of the source that has most connections that have said nothing.
    fn displace_any(&mut self) -> Option<()> {
        let silent = self.sources.iter_mut().map(|(source, clients)| {
            clients.forget_those_that_spoke();
            (*source, clients.silent.len())
        });
        let (source, _) = silent.filter(|(_, len)| *len > 0).max_by_key(|(_, len)| *len)?;
        self.displace(source)
    }

    fn free(&mut self, source: Source, id: u64) {
        let Some(clients) = self.sources.get_mut(&source) else { return };
        clients.silent.remove(&id);
        clients.total -= 1;
        self.total -= 1;
        if clients.total == 0 {
            self.sources.remove(&source);
        }
    }
}

impl Clients {
    fn forget_those_that_spoke(&mut self) {
        self.silent.retain(|_, seat| !seat.first_message.has_come());
    }
}

#[cfg(test)]
mod tests;
