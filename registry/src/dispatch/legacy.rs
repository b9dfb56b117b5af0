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
                let ticket = self.with_registry(|registry| registry.unregister(now, asker, &port));
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
        if let Renewal::Done(ticket) = self.directory.renew(now, asker, port, names.clone()) {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rpyc_protocol::ServiceName;
    use rpyc_protocol::registry::native::StoreId;

    use super::*;
    use crate::counters::Counters;
    use crate::dispatch::Access;
    use crate::store::{MemoryStore, Origin};
    use crate::table::{Arrival, Host, Registry, TableConfig, Transport};

    #[test]
    fn under_load_what_is_unknown_is_not_registered_and_what_is_known_is_renewed() {
        let now = Instant::now();
        let (store, origin) = (Box::new(MemoryStore::new()), Origin::empty(StoreId::new(1)));
        let registry = Registry::new(now, TableConfig::default(), store, origin, Box::new(|| 4));
        let counters = Arc::new(Counters::new(now));
        let dispatcher = Dispatcher::new(now, registry, Access::default(), counters);
        let asker = Asker {
            host: Host::new([10, 0, 0, 1].into(), 0),
            is_here: false,
            reached: None,
            link: 0,
            transport: Transport::Udp4,
            arrival: Arrival::UNKNOWN,
        };
        let register = |name: &str, may_add: bool| {
            let names = [ServiceName::new(name).unwrap()];
            let (mut request, mut buffer, mut asked) = (Vec::new(), Vec::new(), 0);
            let port = Port::tcp(1).unwrap();
            Request::Register { names: Names::from(&names[..]), port }
                .encode(&mut request)
                .unwrap();
            let mut may_add = || {
                asked += 1;
                may_add
            };
            let outcome =
                dispatcher.handle_under_load(now, &asker, &request, &mut buffer, &mut may_add);
            let is_done = matches!(outcome, Outcome::AfterCommit(..));
            assert!(is_done || matches!(outcome, Outcome::Refused(Refusal::Overloaded)));
            (is_done, asked)
        };
        assert_eq!(register("known", true), (true, 1));
        assert_eq!(register("known", false), (true, 0), "a renewal asks for nothing");
        assert_eq!(register("unknown", false), (false, 1));
        assert_eq!(dispatcher.instances(), 1);
        let native = br#"{"v":1,"op":"register","names":["native"],"port":9}"#;
        let mut buffer = Vec::new();
        let outcome = dispatcher.handle_under_load(now, &asker, native, &mut buffer, &mut || false);
        assert!(matches!(outcome, Outcome::Refused(Refusal::Overloaded)));
        assert_eq!(dispatcher.instances(), 1);
    }
}
