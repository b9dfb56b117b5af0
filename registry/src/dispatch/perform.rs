//! Performs operations: every face reads and changes the table through here.

use std::net::SocketAddr;
use std::time::Instant;

use rpyc_protocol::FoldedName;
use rpyc_protocol::registry::native::{Filter, Granted, LeaseId, Registration, Target};
use rpyc_protocol::registry::{self, Port};

use super::operation::{Answer, Operation, Performed, Wait};
use super::registration::MAX_ADDRESSES;
use super::{Dispatcher, registration};
use crate::access::{Announcing, Principal, Proof, Right};
use crate::admission::{Budget, Load};
use crate::refusal::Refusal;
use crate::store::Ticket;
use crate::table::{Asker, Extent, Names, Page, Renewal, Selection, only_host};

impl Dispatcher {
    /// Performs an operation, if `principal` has the right and stays within its rate. Under
    /// overload, `load` sheds registrations; renewals are never shed.
    ///
    /// # Errors
    /// [`Refusal`] is the reason; nothing has changed then.
    pub(crate) fn perform(
        &self,
        now: Instant,
        principal: &Principal<'_>,
        operation: Operation<'_>,
        load: &mut Load,
    ) -> Result<Performed, Refusal> {
        let asker = principal.asker;
        let budget = match &operation {
            Operation::Register { .. } if load.sheds() => return Err(Refusal::Overloaded),
            Operation::Renew(_) => Budget::Renewals,
            _ => Budget::Requests,
        };
        self.admission.admit(now, principal, budget)?;
        if operation.needs_proof() && principal.proof == Proof::Datagram {
            return Err(Refusal::CookieRequired);
        }
        let allow = |right, name: Option<&FoldedName>| self.access.decide(principal, right, name);
        // A lease id identifies its registrant. Any other target needs an operator.
        let allow_change = |target: &Target| {
            allow(if target.lease.is_some() { Right::Hold } else { Right::Operate }, None)
        };
        Ok(match operation {
            Operation::Ping => Answer::Done.into(),
            Operation::Withdraw { port } => {
                allow(Right::Hold, None)?;
                let ticket = self.with_registry(|registry| registry.unregister(now, asker, port));
                Performed::once_durable(ticket, Answer::Done)
            }
            Operation::Register { registration, proofs } => {
                self.register(now, principal, registration, &proofs)?
            }
            Operation::Renew(lease) => {
                allow(Right::Hold, None)?;
                let (granted, ticket) = self.renew(now, asker, lease)?;
                Performed::once_durable(ticket, Answer::Granted(granted))
            }
            Operation::Update(lease, details) => {
                allow(Right::Hold, None)?;
                let ticket = self.with_registry(|registry| registry.update(now, lease, details))?;
                Performed::once_durable(ticket, Answer::Changed(1))
            }
            Operation::Deregister(target) => {
                allow_change(&target)?;
                changed(self.with_registry(|registry| registry.deregister(now, &target))?)
            }
            Operation::Drain { target, is_draining } => {
                allow_change(&target)?;
                changed(self.with_registry(|registry| registry.drain(now, &target, is_draining))?)
            }
            Operation::Release(name) => {
                allow(Right::Operate, None)?;
                let name = name.as_deref().map(FoldedName::new).transpose()?;
                changed(self.with_registry(|registry| registry.release(now, name.as_ref())))
            }
            Operation::Resolve { name, filter, extent } => {
                let name = FoldedName::new(&name)?;
                allow(Right::Resolve, Some(&name))?;
                let names = &Names::One(name);
                let selection =
                    Selection { with_hidden: false, is_full: false, ..everything(names, &filter) };
                self.select(now, principal, &selection, extent)
            }
            Operation::List { host, prefix, glob, filter, extent } => {
                allow(Right::List, None)?;
                let names = &Names::like(prefix.as_deref(), glob.as_deref())?;
                // No instance has a host that is not an address.
                let Some(only) = only_host(host.as_deref()) else {
                    return Ok(Answer::Page(Page::default()).into());
                };
                let selection = Selection { only, ..everything(names, &filter) };
                self.select(now, principal, &selection, extent)
            }
            Operation::Describe { target, extent } => {
                allow(if target.lease.is_some() { Right::Hold } else { Right::List }, None)?;
                let leases = self.directory.find(&target)?;
                let (names, filter) = (&Names::like(None, None)?, Filter::default());
                let selection = Selection { among: Some(&leases), ..everything(names, &filter) };
                self.select(now, principal, &selection, extent)
            }
            Operation::Watch { glob } => {
                let is_name = |glob: &&str| !glob.contains(['*', '?']);
                let name = glob.as_deref().filter(is_name).map(FoldedName::new).transpose()?;
                allow(Right::Watch, name.as_ref())?;
                let names = match name {
                    Some(name) => Names::One(name),
                    None => Names::like(None, glob.as_deref())?,
                };
                Answer::Watch(names).into()
            }
            Operation::Speaks { target, dialect } => {
                allow(Right::Resolve, None)?;
                let dialect = dialect.parse()?;
                let leases = self.directory.find(&target)?;
                for lease in &leases {
                    self.directory.learn_dialect(&lease.instance, dialect);
                }
                Answer::Changed(u64::try_from(leases.len()).unwrap_or(u64::MAX)).into()
            }
            Operation::Status => {
                allow(Right::List, None)?;
                Answer::Status(Box::new(self.status(now, asker))).into()
            }
        })
    }

    /// Renews the names at a port of the asker's host if all are registered, otherwise registers
    /// them: RPyC's REGISTER. The ticket says when to acknowledge it.
    ///
    /// Most requests are renewals, so this does not go through an [`Operation`].
    ///
    /// # Errors
    /// As [`Dispatcher::perform`]. Renewals have a separate rate.
    #[inline]
    pub(crate) fn announce(
        &self,
        now: Instant,
        principal: &Principal<'_>,
        names: registry::Names<'_>,
        port: &Port,
        load: &mut Load,
    ) -> Result<Ticket, Refusal> {
        let asker = principal.asker;
        self.access.decide(principal, Right::Hold, None)?;
        if let Renewal::Done(ticket) = self.directory.renew(now, asker, port, names.clone()) {
            self.admission.admit(now, principal, Budget::Renewals)?;
            return Ok(ticket);
        }
        if load.sheds() {
            return Err(Refusal::Overloaded);
        }
        self.admission.admit(now, principal, Budget::Requests)?;
        // The rules do not depend on names yet.
        self.access.decide(principal, Right::Register, None)?;
        self.with_registry(|registry| registry.register(now, asker, names, port))
    }

    fn register(
        &self,
        now: Instant,
        principal: &Principal<'_>,
        registration: Registration,
        proofs: &[String],
    ) -> Result<Performed, Refusal> {
        let asker = principal.asker;
        self.access.decide(principal, Right::Register, None)?;
        let proofs = proofs.get(..MAX_ADDRESSES).unwrap_or(proofs);
        let announcing = Announcing {
            asker,
            grants: &self.access.addresses,
            addressing: &self.directory.addressing,
            is_proven: |host| proofs.iter().any(|proof| self.cookies.proves(now, host, proof)),
        };
        let sent_after = principal.sent_after(now);
        let new =
            registration::read(&announcing, sent_after, registration, self.names_per_instance)?;
        let (granted, ticket) =
            self.with_registry(|registry| registry.register_native(now, asker, new))?;
        let addresses = self.to_check(granted.lease);
        let wait = Some(Wait { ticket, addresses });
        Ok(Performed { answer: Answer::Granted(granted), wait })
    }

    fn renew(
        &self,
        now: Instant,
        asker: &Asker,
        lease: LeaseId,
    ) -> Result<(Granted, Ticket), Refusal> {
        if let Some(renewed) = self.directory.renew_native(now, asker, lease) {
            return Ok(renewed);
        }
        self.with_registry(|registry| registry.renew_native(now, asker, lease))
    }

    /// The addresses of a new registration to probe before the answer.
    fn to_check(&self, lease: LeaseId) -> Vec<SocketAddr> {
        let Some(plan) = &self.checks else { return Vec::new() };
        let instance = self.directory.instance_of(lease);
        instance.map_or_else(Vec::new, |instance| plan.addresses(&self.directory, &instance))
    }

    fn select(
        &self,
        now: Instant,
        principal: &Principal<'_>,
        selection: &Selection<'_>,
        extent: Extent,
    ) -> Performed {
        let page = self.directory.select(now, principal.asker, selection, extent);
        self.admission.charge(now, principal, page.looked_at);
        Answer::Page(page).into()
    }
}

fn changed((count, ticket): (u64, Ticket)) -> Performed {
    Performed::once_durable(ticket, Answer::Changed(count))
}

/// Every instance of `names` that passes `filter`, with all details.
fn everything<'a>(names: &'a Names, filter: &'a Filter) -> Selection<'a> {
    Selection { names, among: None, only: None, filter, with_hidden: true, is_full: true }
}
