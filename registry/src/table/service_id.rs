//! The names of services, in the order in which they appeared.

use std::borrow::Borrow;
use std::cmp;
use std::sync::Arc;

use rpyc_protocol::ServiceName;

/// The name of a service, with its number, which rises in the order in which names appear.
#[derive(Debug)]
pub(crate) struct ServiceId {
    pub(crate) name: ServiceName,
    pub(crate) number: u64,
}

impl ServiceId {
    pub(crate) fn as_str(&self) -> &str {
        self.name.as_str()
    }
}

/// A title by its number.
#[derive(Debug)]
pub(super) struct ByNumber(pub(super) Arc<ServiceId>);

impl Borrow<u64> for ByNumber {
    fn borrow(&self) -> &u64 {
        &self.0.number
    }
}

impl PartialEq for ByNumber {
    fn eq(&self, other: &Self) -> bool {
        self.0.number == other.0.number
    }
}

impl Eq for ByNumber {}

impl PartialOrd for ByNumber {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByNumber {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        self.0.number.cmp(&other.0.number)
    }
}
