//! How many clients there are from each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use crate::lock::lock;

/// The permits for clients of one address, of which there are so many.
#[derive(Clone, Debug)]
pub(super) struct Permits {
    limit: usize,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A permit that is taken; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    source: IpAddr,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Permits {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, taken: Arc::default() }
    }

    /// Takes a permit for a client, if there is one for its address.
    pub(super) fn take(&self, address: IpAddr) -> Option<Permit> {
        let source = source(address);
        let mut taken = lock(&self.taken);
        let count = taken.get(&source).copied().unwrap_or_default();
        if count >= self.limit {
            return None;
        }
        taken.insert(source, count + 1);
        Some(Permit { source, taken: self.taken.clone() })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(count) = taken.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.source);
            }
        }
    }
}

/// The owner of an address: over IPv6 one machine has a whole network of 64 bits to choose from.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_places_and_gets_them_back() {
        let permits = Permits::new(2);
        let take = |address: &str| permits.take(address.parse().unwrap());
        let (one, other) = (take("192.0.2.1"), take("::ffff:192.0.2.1"));
        assert!(one.is_some() && other.is_some());
        assert!(take("192.0.2.1").is_none());
        assert!(take("192.0.2.2").is_some());
        drop(one);
        assert!(take("192.0.2.1").is_some());
        drop(other);

        let (one, other) = (take("2001:db8::1"), take("2001:db8::2"));
        assert!(one.is_some() && other.is_some());
        assert!(take("2001:db8::3").is_none(), "the same network");
        assert!(take("2001:db8:0:1::3").is_some(), "another one");
        drop((one, other));
        assert!(permits.taken.lock().unwrap().is_empty());
    }
}
