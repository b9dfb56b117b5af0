//! The secret by which a registrant owns its registration.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names a lease, and proves that its bearer is the registrant: it cannot be guessed. Only the
/// registrant receives it, and no log and no listing shows it; its `Debug` form does not either.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseId(u128);

impl LeaseId {
    /// The lease of this number, which should be random.
    #[must_use]
    pub fn new(id: u128) -> Self {
        Self(id)
    }

    /// Its number.
    #[must_use]
    pub fn get(self) -> u128 {
        self.0
    }
}

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeaseId(..)")
    }
}

impl Serialize for LeaseId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for LeaseId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let id = u128::from_str_radix(&text, 16).ok();
        let id = id.filter(|_| text.len() == 32 && !text.starts_with('+'));
        id.map(Self).ok_or_else(|| D::Error::custom("a lease is 32 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_not_shown_but_told() {
        let lease = LeaseId::new(0xabc);
        assert_eq!(format!("{lease:?}"), "LeaseId(..)");
        let json = serde_json::to_string(&lease).unwrap();
        assert_eq!(json, format!("\"{:0>32}\"", "abc"));
        assert_eq!(serde_json::from_str::<LeaseId>(&json).unwrap(), lease);
        for bad in ["\"abc\"", "\"+0000000000000000000000000000abc\"", "7"] {
            serde_json::from_str::<LeaseId>(bad).unwrap_err();
        }
    }
}
