//! Unpredictable numbers from the system.

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
