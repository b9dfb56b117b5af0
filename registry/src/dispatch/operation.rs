//! Operations and answers, independent of any protocol.

use std::net::SocketAddr;

use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::{
    DetailsUpdate, Filter, Granted, LeaseId, Registration, Status, Target,
};

use crate::store::Ticket;
use crate::table::{Extent, Names, Page};

/// An operation on the registry. RPyC's REGISTER is [`Dispatcher::announce`](super::Dispatcher).
#[derive(Debug)]
pub(crate) enum Operation<'a> {
    /// Ends the registration of a port of the asker's host: RPyC's UNREGISTER.
    Withdraw { port: &'a Port },
    /// Begins a lease. The proofs are cookies that the registry sent to further addresses of the
    /// registrant.
    Register { registration: Registration, proofs: Vec<String> },
    /// Renews a lease.
    Renew(LeaseId),
    /// Changes the details of an instance.
    Update(LeaseId, DetailsUpdate),
    /// Ends leases.
    Deregister(Target),
    /// Hides instances from new clients, or shows them again.
    Drain { target: Target, is_draining: bool },
    /// Expires protected overdue leases, of one name or of all.
    Release(Option<String>),
    /// Finds the instances that serve a name.
    Resolve { name: String, filter: Filter, extent: Extent },
    /// Finds the instances of many names.
    List {
        host: Option<String>,
        prefix: Option<String>,
        glob: Option<String>,
        filter: Filter,
        extent: Extent,
    },
    /// Finds some instances with all their details.
    Describe { target: Target, extent: Extent },
    /// Follows the changes of the names that match, or of all.
    Watch { glob: Option<String> },
    /// Records the dialect of RPyC that instances speak: a hint for later clients.
    Speaks { target: Target, dialect: String },
    /// Reads the state of the registry.
    Status,
    /// Does nothing.
    Ping,
}

impl Operation<'_> {
    /// Whether its sender must have proven its source. A renewal has proven that it holds a lease,
    /// and RPyC's clients cannot prove anything.
    pub(super) fn needs_proof(&self) -> bool {
        matches!(
            self,
            Self::Deregister(_)
                | Self::Drain { .. }
                | Self::Register { .. }
                | Self::Release(_)
                | Self::Speaks { .. }
                | Self::Update(..)
        )
    }
}

/// The answer to an operation.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The number of instances that changed or ended.
    Changed(u64),
    /// The operation succeeded and returns nothing.
    Done,
    /// The instances, or as many as the extent allows.
    Page(Page),
    /// The lease that was begun or renewed.
    Granted(Granted),
    /// The state of the registry.
    Status(Box<Status>),
    /// The names to follow. The codec makes a watch of them.
    Watch(Names),
}

/// The result of an operation.
#[derive(Debug)]
pub(crate) struct Performed {
    pub(crate) answer: Answer,
    /// The events that it must wait for; `None` if it can be sent at once.
    pub(crate) wait: Option<Wait>,
}

/// The events that an answer waits for.
#[derive(Debug)]
pub(crate) struct Wait {
    /// The change that must be durable.
    pub(crate) ticket: Ticket,
    /// The addresses of a new instance to probe first.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl From<Answer> for Performed {
    fn from(answer: Answer) -> Self {
        Self { answer, wait: None }
    }
}

impl Performed {
    /// An answer that waits until the ticket is durable.
    pub(crate) fn once_durable(ticket: Ticket, answer: Answer) -> Self {
        Self { answer, wait: Some(Wait { ticket, addresses: Vec::new() }) }
    }
}
