//! The requests of RPyC's own protocol.

use std::time::Instant;

use rpyc_protocol::registry::{Request, reply};
use rpyc_protocol::{FoldedName, Limits as MessageLimits};

use crate::access::{Principal, Right};
use crate::admission::{Budget, Load};
use crate::counters::Loss;
use crate::dispatch::operation::Operation;
use crate::dispatch::registration::check_path;
use crate::dispatch::{Deferred, Dispatcher, Outcome};
use crate::refusal::Refusal;
use crate::store::Ticket;
use crate::table::Asker;

impl Dispatcher {
    /// Serves a request.
    pub(in crate::dispatch) fn legacy<'b>(
        &self,
        now: Instant,
        asker: &Asker,
        message: &[u8],
        buffer: &'b mut Vec<u8>,
        load: &mut Load,
    ) -> Result<Outcome<'b>, Refusal> {
        let principal = Principal::new(asker);
        let request = Request::decode(message, &MessageLimits::REQUEST)?;
        let ticket = match request {
            Request::Query { name } => {
                self.admission.admit(now, &principal, Budget::Requests)?;
                let name = FoldedName::new(name)?;
                self.access.decide(&principal, Right::Resolve, Some(&name))?;
                let answer = self.legacy.query(&self.directory, &name, asker, buffer)?;
                self.admit_answer(now, &principal, (message, answer))?;
                return Ok(Outcome::Reply(answer));
            }
            Request::List { host } => {
                self.admission.admit(now, &principal, Budget::Requests)?;
                let answer = match self.access.decide(&principal, Right::List, None) {
                    Ok(()) => self.legacy.list(&self.directory, host, asker, buffer)?,
                    Err(refusal) => {
                        self.counters.refused(now, Loss::from(&refusal), asker.host, &refusal);
                        reply::FORBIDDEN
                    }
                };
                self.admit_answer(now, &principal, (message, answer))?;
                return Ok(Outcome::Reply(answer));
            }
            Request::Register { names, port } => {
                check_path(&port, true)?;
                self.announce(now, &principal, names, &port, load)?
            }
            Request::Unregister { port } => {
                let withdraw = Operation::Withdraw { port: &port };
                let performed = self.perform(now, &principal, withdraw, load)?;
                performed.wait.map_or_else(Ticket::default, |wait| wait.ticket)
            }
        };
        let deferred = Deferred::legacy(ticket, asker.transport);
        Ok(Outcome::Deferred(deferred, reply::ACKNOWLEDGEMENT))
    }

    #[inline]
    fn admit_answer(
        &self,
        now: Instant,
        principal: &Principal<'_>,
        (request, answer): (&[u8], &[u8]),
    ) -> Result<(), Refusal> {
        let is_near = || self.directory.addressing.is_near(principal.asker.host.ip());
        self.admission.admit_answer(now, principal, (request.len(), answer.len()), is_near)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rpyc_protocol::ServiceName;
    use rpyc_protocol::registry::native::StoreId;
    use rpyc_protocol::registry::{Names, Port};

    use super::*;
    use crate::access::Access;
    use crate::counters::Counters;
    use crate::host::Host;
    use crate::store::{MemoryStore, Origin};
    use crate::table::{Arrival, Registry, TableConfig, Transport};

    #[test]
    fn under_load_what_is_unknown_is_not_registered_and_what_is_known_is_renewed() {
        let now = Instant::now();
        let (store, origin) = (Box::new(MemoryStore::new()), Origin::empty(StoreId::new(1)));
        let registry = Registry::new(now, TableConfig::default(), store, origin, Box::new(|| 4));
        let counters = Arc::new(Counters::new(now));
        let dispatcher = Dispatcher::new(now, registry, Access::default(), counters);
        let asker = Asker {
            port: 1,
            host: Host::new([10, 0, 0, 1].into(), 0),
            is_here: false,
            reached: None,
            link: 0,
            transport: Transport::Udp4,
            arrival: Arrival::UNKNOWN,
        };
        let handle = |request: &[u8], load: &mut Load| {
            let mut buffer = Vec::new();
            let outcome = dispatcher.handle_under_load(now, &asker, request, &mut buffer, load);
            let is_done = matches!(outcome, Outcome::Deferred(..));
            assert!(is_done || matches!(outcome, Outcome::Refused(Refusal::Overloaded)));
            is_done
        };
        let register = |name: &str, load: &mut Load| {
            let names = [ServiceName::new(name).unwrap()];
            let (names, port) = (Names::from(&names[..]), Port::tcp(1).unwrap());
            let mut request = Vec::new();
            Request::Register { names, port }.encode(&mut request).unwrap();
            handle(&request, load)
        };
        let mut load = Load::default();
        assert!(register("known", &mut load));
        // Every other addition is shed. Renewals between them do not count.
        load.set_share(0.5);
        assert!(register("second", &mut load));
        assert!(register("known", &mut load) && register("known", &mut load));
        assert!(!register("third", &mut load));
        assert_eq!(dispatcher.directory().revision().number, 2);
        load.set_share(1.0);
        assert!(!handle(br#"{"v":1,"op":"register","names":["native"],"port":9}"#, &mut load));
        assert_eq!(dispatcher.instances(), 1);
    }
}
