//! Requests to a registry.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{LeaseId, ParseError, Revision, State, VERSION};
use crate::registry::Port;

/// A request. Fields that are not known are ignored, so a request over UDP may be padded to be
/// allowed a longer answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by clients as a literal")]
pub struct Request {
    /// The version of the face, [`VERSION`].
    pub v: u32,
    /// Echoed in the reply, so that a client knows which request it answers. At most
    /// [`MAX_REQUEST_ID`](super::MAX_REQUEST_ID).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The cookie of the last reply, to show that the source of the request is not forged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// For a registration: cookies that the registry sent to further addresses of the registrant,
    /// to show that these are its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proofs: Vec<String>,
    /// The operation.
    #[serde(flatten)]
    pub operation: Operation,
}

impl Request {
    /// A request of this version, without number, cookie and proofs.
    #[must_use]
    pub fn new(operation: Operation) -> Self {
        Self { v: VERSION, id: None, cookie: None, proofs: Vec::new(), operation }
    }

    /// The same request with a number.
    #[must_use]
    pub fn with_id(self, id: u64) -> Self {
        Self { id: Some(id), ..self }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`ParseError`] with the reason; the fault of the sender.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        Ok(serde_json::from_slice(bytes)?)
    }

    /// The request as one line of JSON, without the line's end.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, numbers and maps of them always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The operation of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Operation {
    /// Begin a lease.
    Register(Registration),
    /// Keep a lease.
    Renew {
        /// The lease, as [`Granted`](super::Granted) has it.
        lease: LeaseId,
    },
    /// Change the details of an instance.
    Update {
        /// Its lease.
        lease: LeaseId,
        /// What to change.
        #[serde(flatten)]
        details: DetailsUpdate,
    },
    /// End leases: one's own by its lease, others as an operator.
    Deregister(Target),
    /// The servers of one name.
    Resolve {
        /// The name, in any case.
        name: String,
        /// Which of its instances.
        #[serde(flatten)]
        filter: Filter,
        /// How many of them, and from where on.
        #[serde(flatten)]
        page: Page,
    },
    /// Every name and its servers.
    List {
        /// Only servers on this host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// Only names that begin so, in any case.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prefix: Option<String>,
        /// Only names like this, in any case: `*` is any text, `?` any character.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        glob: Option<String>,
        /// Which of their instances.
        #[serde(flatten)]
        filter: Filter,
        /// How many of them, and from where on.
        #[serde(flatten)]
        page: Page,
    },
    /// Every change from now, or from a revision, on. TCP only; the connection carries nothing else
    /// from then on.
    Watch {
        /// Only names like this, in any case; absent means all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        glob: Option<String>,
        /// Only what came after this; absent means to begin with all that is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Revision>,
    },
    /// All that is known of some instances.
    Describe {
        /// Which.
        #[serde(flatten)]
        target: Target,
        /// From where on.
        #[serde(flatten)]
        page: Page,
    },
    /// Give some instances no new clients until [`Operation::Undrain`]: their own registrant, or an
    /// operator.
    Drain(Target),
    /// Answer them again.
    Undrain(Target),
    /// End the protection of suspects: those that are overdue go at once. Operators only.
    Release {
        /// Only those of this name; absent means all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// Some instances were found to speak a dialect of RPyC; the registry reports it to others.
    Speaks {
        /// Which.
        #[serde(flatten)]
        target: Target,
        /// The dialect: `5` or `6`, with `-bind-threads` for bound threads.
        dialect: String,
    },
    /// How the registry does: all its counters.
    Status,
    /// Whether the registry answers.
    Ping,
}

impl Operation {
    /// Every name and its servers, by anyone or on `host` alone.
    #[must_use]
    pub fn list(host: Option<&str>) -> Self {
        let (filter, page) = (Filter::default(), Page::default());
        Self::List { host: host.map(str::to_owned), prefix: None, glob: None, filter, page }
    }

    /// The servers of `name`.
    #[must_use]
    pub fn resolve(name: &str) -> Self {
        let (filter, page) = (Filter::default(), Page::default());
        Self::Resolve { name: name.to_owned(), filter, page }
    }

    /// The same question about what comes after a place in its answer; other operations stay.
    #[must_use]
    pub fn going_on_after(mut self, place: Cursor) -> Self {
        if let Self::Resolve { page, .. } | Self::List { page, .. } | Self::Describe { page, .. } =
            &mut self
        {
            page.after = Some(place);
        }
        self
    }
}

/// Begin a lease: "this server serves these names here".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by clients as a literal")]
pub struct Registration {
    /// The names, in any case; at least one.
    pub names: Vec<String>,
    /// Where the server listens.
    pub port: Port,
    /// Addresses of the server, the preferred first, each `IP` or `IP:PORT`; empty means the
    /// address that the registration comes from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Milliseconds that the lease shall last without renewal, within the registry's bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// Chosen by the registrant, and new for each start of a server: a registration that comes
    /// again with the same key is the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The lease that this one replaces, if the registrant holds one for the same address and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<LeaseId>,
    /// Fail if another server holds one of the names, and keep others from registering them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclusive: bool,
    /// Further details.
    #[serde(flatten)]
    pub details: Details,
}

/// The details of an instance besides names and addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by clients as a literal")]
pub struct Details {
    /// Words to filter by.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// Keys and values to filter by and to read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
    /// How much of the load it shall have beside the others; absent means 1, and 0 none as long as
    /// there are others. More than [`MAX_WEIGHT`](super::MAX_WEIGHT) counts as that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// Where it is: clients prefer their own zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What it speaks; absent means RPyC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}

/// Changes of [`Details`]; absent fields stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by clients as a literal")]
pub struct DetailsUpdate {
    /// All tags from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeSet<String>>,
    /// All metadata from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<BTreeMap<String, String>>,
    /// The weight from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// The zone from now on; empty means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

impl DetailsUpdate {
    /// `details` with the change.
    #[must_use]
    pub fn apply(self, details: &Details) -> Details {
        Details {
            tags: self.tags.unwrap_or_else(|| details.tags.clone()),
            meta: self.meta.unwrap_or_else(|| details.meta.clone()),
            weight: self.weight.or(details.weight),
            zone: self.zone.or_else(|| details.zone.clone()).filter(|zone| !zone.is_empty()),
            protocol: details.protocol.clone(),
        }
    }
}

/// Which instances an operation is about: one by its lease or its number, or those of a name, on a
/// host, on a port. An absent field does not matter, but one must be present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by clients as a literal")]
pub struct Target {
    /// By its lease: its own registrant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseId>,
    /// By its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<u64>,
    /// Those that serve this name, in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Those at this address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Those on this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
}

impl Target {
    /// Whether it is about nothing in particular.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Which instances to return.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by clients as a literal")]
pub struct Filter {
    /// Those that have all of these tags.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags_all: BTreeSet<String>,
    /// Those that have one of these tags, if there are any.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags_any: BTreeSet<String>,
    /// Those whose metadata has all of these.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
    /// Those in this zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Those in one of these states; empty means every state that is answered.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub states: BTreeSet<State>,
}

/// How much to return, and from where on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by clients as a literal")]
pub struct Page {
    /// The most instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Go on after this position, which the last answer has in [`Reply::next`](super::Reply::next).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Cursor>,
}

/// A position in the table: everything registered before it has been sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "opaque to clients, who only echo it")]
pub struct Cursor {
    /// The number of the service.
    pub service: u64,
    /// The number of the lease within it.
    pub lease: u64,
}
