//! The revision of the table that an answer shows.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names a store. A registry that forgets on restart has another one each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreId(u32);

impl StoreId {
    /// The store of this number.
    #[must_use]
    pub fn new(id: u32) -> Self {
        Self(id)
    }

    /// Its number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A state of a table: a store, and a number that rises with every change of it.
///
/// Numbers of different stores mean nothing to one another, so revisions have no order; ask
/// [`Revision::is_before`].
///
/// ```
/// use rpyc_protocol::registry::native::Revision;
///
/// let old: Revision = "0badcafe:41".parse().unwrap();
/// let new: Revision = "0badcafe:42".parse().unwrap();
/// assert!(old.is_before(new) && !new.is_before(old));
/// assert!(!old.is_before("00000000:42".parse().unwrap()));
/// assert_eq!(new.to_string(), "0badcafe:42");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "store and number are all there is")]
pub struct Revision {
    /// The store that counts.
    pub store: StoreId,
    /// What it counted to.
    pub number: u64,
}

impl Revision {
    /// Whether both are of one store, and this one is the older.
    #[must_use]
    pub fn is_before(self, other: Self) -> bool {
        self.store == other.store && self.number < other.number
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.store, self.number)
    }
}

/// A text that is not a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a revision looks like 0badcafe:42")]
#[non_exhaustive]
pub struct RevisionError;

impl FromStr for Revision {
    type Err = RevisionError;

    fn from_str(text: &str) -> Result<Self, RevisionError> {
        let (store, number) = text.split_once(':').ok_or(RevisionError)?;
        let is_plain = |text: &str| !text.starts_with('+');
        if store.len() != 8 || !is_plain(store) || !is_plain(number) {
            return Err(RevisionError);
        }
        let store = u32::from_str_radix(store, 16).ok().map(StoreId).ok_or(RevisionError)?;
        Ok(Self { store, number: number.parse().ok().ok_or(RevisionError)? })
    }
}

impl Serialize for Revision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Revision {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_form_is_a_revision() {
        for bad in
            ["", ":", "1:2", "0badcafe", "0badcafe:", "+badcafe:1", "0badcafe:+1", "0badcafe:-1"]
        {
            assert_eq!(bad.parse::<Revision>(), Err(RevisionError), "{bad:?}");
        }
        let last = Revision { store: StoreId(u32::MAX), number: u64::MAX };
        assert_eq!(last.to_string().parse(), Ok(last));
    }
}
