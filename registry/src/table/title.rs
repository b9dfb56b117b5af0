//! The names of services, in the order in which they appeared.

use std::borrow::Borrow;
use std::cmp;
use std::sync::Arc;

use rpyc_protocol::ServiceName;

/// The name of a service, with its number, which rises in the order in which names appear.
#[derive(Debug)]
pub(crate) struct Title {
    pub(crate) name: ServiceName,
    pub(crate) number: u64,
}

impl Title {
    pub(crate) fn as_str(&self) -> &str {
        self.name.as_str()
    }
}

/// A title by its number.
#[derive(Debug)]
pub(super) struct Numbered(pub(super) Arc<Title>);

impl Borrow<u64> for Numbered {
    fn borrow(&self) -> &u64 {
        &self.0.number
    }
}

impl PartialEq for Numbered {
    fn eq(&self, other: &Self) -> bool {
        self.0.number == other.0.number
    }
}

impl Eq for Numbered {}

impl PartialOrd for Numbered {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Numbered {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        self.0.number.cmp(&other.0.number)
    }
}
