//! What is asked and answered, without a protocol.

use std::net::SocketAddr;

use rpyc_protocol::registry::native::{
    DetailsUpdate, Filter, Granted, LeaseId, Registration, Status, Target,
};
use rpyc_protocol::registry::{self, Port};

use crate::store::Ticket;
use crate::table::{Extent, Found, Names};

/// What the registry is asked to do.
#[derive(Debug)]
pub(crate) enum Operation<'a> {
    /// Registers the names at a port of the asker's host, or renews them: RPyC's REGISTER.
    Announce { names: registry::Names<'a>, port: &'a Port },
    /// Ends what is announced at a port of the asker's host: RPyC's UNREGISTER.
    Withdraw { port: &'a Port },
    /// Begins a lease.
    Register(Registration),
    /// Renews a lease.
    Renew(LeaseId),
    /// Changes what a registrant says about its instance.
    Update(LeaseId, DetailsUpdate),
    /// Ends leases.
    Deregister(Target),
    /// Stops or resumes answering instances to new clients.
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
    /// Finds all that is known of some instances.
    Describe { target: Target, extent: Extent },
    /// Follows the changes of the names that match, or of all.
    Watch { glob: Option<String> },
    /// Reads the state of the registry.
    Status,
    /// Does nothing.
    Ping,
}

/// What the registry answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// How many instances changed or ended.
    Changed(u64),
    /// It is done, and there is nothing to say about it.
    Done,
    /// The instances, or as many as the extent allows.
    Found(Found),
    /// The lease that was begun or renewed.
    Granted(Granted),
    /// The state of the registry.
    Status(Box<Status>),
    /// The names to follow. The codec makes a watch of them.
    Watch(Names),
}

/// An answer, and what it waits for.
#[derive(Debug)]
pub(crate) struct Performed {
    pub(crate) answer: Answer,
    /// What must happen before it is given; `None` if it may be given at once.
    pub(crate) wait: Option<Wait>,
}

/// What an answer waits for.
#[derive(Debug)]
pub(crate) struct Wait {
    /// The change that must be durable.
    pub(crate) ticket: Ticket,
    /// The addresses of a new instance to try before.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl From<Answer> for Performed {
    fn from(answer: Answer) -> Self {
        Self { answer, wait: None }
    }
}

impl Performed {
    /// An answer that may be given once the ticket is durable.
    pub(crate) fn once_durable(ticket: Ticket, answer: Answer) -> Self {
        Self { answer, wait: Some(Wait { ticket, addresses: Vec::new() }) }
    }
}
