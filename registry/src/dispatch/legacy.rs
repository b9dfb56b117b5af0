//! Requests in RPyC's own protocol.

use std::time::Instant;

use rpyc_protocol::registry::{Names, Port, Request, reply};
use rpyc_protocol::{FoldedName, Limits as MessageLimits};

use super::{Dispatcher, Outcome};
use crate::refusal::Refusal;
use crate::table::{Asker, Renewal};

impl Dispatcher {
    pub(super) fn legacy<'b>(
        &self,
        now: Instant,
        asker: &Asker,
        message: &[u8],
        buffer: &'b mut Vec<u8>,
        may_add: &mut dyn FnMut() -> bool,
    ) -> Result<Outcome<'b>, Refusal> {
        let request = Request::decode(message, &MessageLimits::REQUEST)?;
        if !matches!(request, Request::Register { .. }) {
            self.admit(&self.requests, now, asker)?;
        }
        Ok(match request {
            Request::Register { names, port } => {
                self.register(now, asker, names, &port, may_add)?
            }
            Request::Query { name } => {
                Outcome::Reply(self.directory.query(&FoldedName::new(name)?, asker, buffer)?)
            }
            Request::List { host } if self.access.may_list(asker) => {
                Outcome::Reply(self.directory.list(host, asker, buffer)?)
            }
            Request::List { .. } => Outcome::Reply(reply::FORBIDDEN),
            Request::Unregister { port } => {
                let ticket = self.with_registry(|registry| registry.unregister(asker, &port));
                Outcome::AfterCommit(ticket, reply::ACKNOWLEDGEMENT)
            }
        })
    }

    /// A renewal is served from tokens of its own: servers that are known stay known, however much
    /// else comes from their machine.
    fn register<'b>(
        &self,
        now: Instant,
        asker: &Asker,
        names: Names<'_>,
        port: &Port,
        may_add: &mut dyn FnMut() -> bool,
    ) -> Result<Outcome<'b>, Refusal> {
        if let Renewal::Done(ticket) = self.directory.renew(now, asker.host, port, names.clone()) {
            self.admit(&self.renewals, now, asker)?;
            return Ok(Outcome::AfterCommit(ticket, reply::ACKNOWLEDGEMENT));
        }
        if !may_add() {
            return Err(Refusal::Overloaded);
        }
        self.admit(&self.requests, now, asker)?;
        let ticket = self.with_registry(|registry| registry.register(now, asker, names, port))?;
        Ok(Outcome::AfterCommit(ticket, reply::ACKNOWLEDGEMENT))
    }
}
