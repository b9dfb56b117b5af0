//! Unpredictable numbers from the system.

use rpyc_protocol::registry::native::StoreId;

use crate::table::Entropy;

/// A random number.
pub(crate) fn number() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("a system that runs programs has random numbers");
    u128::from_be_bytes(bytes)
}

/// A source of random numbers.
pub(crate) fn entropy() -> Entropy {
    Box::new(number)
}

/// A store's name that no other has, by `random` numbers.
#[must_use]
pub fn store_id(random: u128) -> StoreId {
    StoreId::new(u32::try_from(random & u128::from(u32::MAX)).unwrap_or(0))
}
