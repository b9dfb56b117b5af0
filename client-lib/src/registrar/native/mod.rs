//! What only this project's registry is asked: leases, states, filters, changes, operation.

mod answer;
mod proofs;
#[cfg(test)]
mod tests;
mod watch;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::native::{
    self, DetailsUpdate, ErrorCode, Filter, Granted, LeaseId, Operation, Page, Revision, Status,
    Target,
};
use rpyc_protocol::rpc::Dialect;

pub use answer::{Answer, Query, RegistryProtocol};
pub use watch::{Change, ChangeKind, Watch, WatchError};

use super::exchange::Reply;
use super::follow_up::FollowUp;
use super::question::Question;
use super::{Lookup, Registrar, Service};
use crate::{Attempts, Fault, Instance, Registries, RegistryAddr, RequestError, Transport};

/// Speaks to this project's registry in its own words; from [`Registrar::native`].
///
/// Cheap to clone; it holds settings and no socket. A request goes to the first registry of the
/// [`Registrar`], and on to the next as its questions do: when no answer comes for a moment,
/// when none can come, or when the registry declines. A lease is known to the registry that granted
/// it alone, so requests about a lease need a `Registrar` of that registry: [`Answer::registrar`].
///
/// RPyC's own registry understands nothing of it and stays silent, so that it ends in
/// [`RequestError::NoReply`]; [`Registrar::resolve`] and [`Registrar::services`] ask it in its own
/// words.
///
/// Over UDP a request is sent again until an answer comes; one that does not fit a datagram goes
/// over TCP. A change over UDP that a registry answers with a cookie is repeated with that cookie.
///
/// # Cancel safety
/// Dropping a future abandons the answer; the request may be carried out.
#[derive(Clone, Debug)]
pub struct Native {
    registrar: Registrar,
}

/// The longest request that is sent as a datagram: what no link on the way must split.
const MAX_DATAGRAM: usize = native::MAX_DATAGRAM;

impl Registrar {
    /// What only this project's registry is asked.
    #[must_use]
    pub fn native(&self) -> Native {
        Native { registrar: self.clone() }
    }
}

impl Registrar {
    /// Asks what the first registry that answers speaks.
    ///
    /// RPyC's own over TCP takes half a second longer, once, to be known for what it is.
    ///
    /// # Errors
    /// [`RequestError`] if none answers.
    ///
    /// # Cancel safety
    /// Cancel safe: there is nothing to undo.
    pub async fn protocol(&self) -> Result<Answer<RegistryProtocol>, RequestError> {
        let (registry, reply) = self.ask(&self.inner.registries, &Question::protocol()).await?;
        if reply.answer == RegistryProtocol::Legacy {
            FollowUp::by(self, registry, &reply).remember_legacy();
        }
        let (registry, responder, source) = (registry.clone(), reply.from, reply.local);
        Ok(Answer { registry, responder, source, revision: None, value: reply.answer })
    }

    /// Watches one name at the registry that returned it.
    pub(crate) async fn watch_at(
        &self,
        found: &Lookup,
        name: &ServiceName,
        since: Option<Revision>,
    ) -> Result<Watch, RequestError> {
        let operation = Operation::Watch { glob: Some(name.to_string()), since };
        let Lookup { registry, responder, local, .. } = found;
        watch::begin(self, registry.clone(), *responder, *local, operation).await
    }
}

/// The registry that forbade a request over UDP, over TCP.
fn forbidden_over_udp(attempts: &Attempts) -> Option<RegistryAddr> {
    let forbids =
        |fault: &Fault| matches!(fault, Fault::Declined { code: ErrorCode::Forbidden, .. });
    let mut over_udp = attempts.iter().filter(|it| it.registry.transport() == Transport::Udp);
    let attempt = over_udp.find(|attempt| forbids(&attempt.fault))?;
    RegistryAddr::new(Transport::Tcp, attempt.responder?).ok()
}

impl Native {
    /// Whether the registry answers.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn ping(&self) -> Result<Answer<()>, RequestError> {
        self.request(Question::native(Operation::Ping), |_| Some(())).await
    }

    /// Keeps a lease.
    ///
    /// # Errors
    /// [`RequestError`]; if [`is_unknown_lease`](RequestError::is_unknown_lease), register again.
    pub async fn renew(&self, lease: LeaseId) -> Result<Answer<Granted>, RequestError> {
        self.request(Question::native(Operation::Renew { lease }), |reply| reply.lease).await
    }

    /// Changes the details of an instance.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn update(
        &self,
        lease: LeaseId,
        details: DetailsUpdate,
    ) -> Result<Answer<u64>, RequestError> {
        self.request(Question::native(Operation::Update { lease, details }), |reply| reply.changed)
            .await
    }

    /// Ends leases: one's own by its lease, others as an operator. Returns the number of instances.
    ///
    /// # Errors
    /// [`RequestError`]; declined with [`UnknownTarget`](native::ErrorCode::UnknownTarget) if there
    /// is none.
    pub async fn deregister(&self, target: Target) -> Result<Answer<u64>, RequestError> {
        self.request(Question::native(Operation::Deregister(target)), |reply| reply.changed).await
    }

    /// Drains instances, so that new clients do not get them: one's own by its lease, others as an
    /// operator. Returns the number of instances.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn drain(&self, target: Target) -> Result<Answer<u64>, RequestError> {
        self.request(Question::native(Operation::Drain(target)), |reply| reply.changed).await
    }

    /// Ends the draining. Returns the number of instances.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn undrain(&self, target: Target) -> Result<Answer<u64>, RequestError> {
        self.request(Question::native(Operation::Undrain(target)), |reply| reply.changed).await
    }

    /// Ends the protection of overdue instances, of `name` or of all, as an operator: they go at
    /// once. Returns their number.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn release(&self, name: Option<&ServiceName>) -> Result<Answer<u64>, RequestError> {
        let name = name.map(ToString::to_string);
        self.request(Question::native(Operation::Release { name }), |reply| reply.changed).await
    }

    /// Reports to the registry which dialect of RPyC some instances speak, for clients that connect
    /// next. Returns the number of registrations that match.
    ///
    /// # Errors
    /// [`RequestError`]; declined with [`UnknownTarget`](native::ErrorCode::UnknownTarget) if there
    /// is none.
    pub async fn report_dialect(
        &self,
        target: Target,
        dialect: Dialect,
    ) -> Result<Answer<u64>, RequestError> {
        let dialect = dialect.as_str().to_owned();
        self.request(Question::native(Operation::Speaks { target, dialect }), |reply| reply.changed)
            .await
    }

    /// How the registry does, with all its counters.
    ///
    /// # Errors
    /// [`RequestError`]; to others than this machine it may be
    /// [`ListingForbidden`](native::ErrorCode::ListingForbidden).
    pub async fn status(&self) -> Result<Answer<Status>, RequestError> {
        self.request(Question::native(Operation::Status), |reply| {
            reply.status.map(|status| *status)
        })
        .await
    }

    /// The servers of `name` that match `filter`, passing ones first. May be empty.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn resolve(
        &self,
        name: &ServiceName,
        filter: Filter,
    ) -> Result<Answer<Vec<Instance>>, RequestError> {
        let name = name.to_string();
        let answer = self.pages(Operation::Resolve { name, filter, page: Page::default() }).await?;
        Ok(answer.map(|services| services.into_iter().flat_map(|it| it.instances).collect()))
    }

    /// All names and their servers, in every state. May be empty.
    ///
    /// # Errors
    /// [`RequestError`]; declined with [`ListingForbidden`](native::ErrorCode::ListingForbidden)
    /// where only some may list.
    pub async fn list(&self, query: Query) -> Result<Answer<Vec<Service>>, RequestError> {
        let Query { host, prefix, glob, filter } = query;
        let page = Page::default();
        self.pages(Operation::List { host, prefix, glob, filter, page }).await
    }

    /// All that is known of some instances, under each of their names.
    ///
    /// # Errors
    /// [`RequestError`]; declined with [`UnknownTarget`](native::ErrorCode::UnknownTarget) if there
    /// is none.
    pub async fn describe(&self, target: Target) -> Result<Answer<Vec<Service>>, RequestError> {
        self.pages(Operation::Describe { target, page: Page::default() }).await
    }

    /// Follows what happens to names like `glob` (`*` is any text, `?` any character), or to all:
    /// from `since` on, or beginning with all that is there. Over TCP, even if the registry's
    /// address is one for UDP, or over its unix socket.
    ///
    /// A client may watch a plain name if it may look it up, and more if it may list.
    ///
    /// # Errors
    /// [`RequestError`] if no registry begins the watch.
    pub async fn watch(
        &self,
        glob: Option<&str>,
        since: Option<Revision>,
    ) -> Result<Watch, RequestError> {
        // The registry that answered is watched at its own address.
        let found = self.ping().await?;
        let operation = Operation::Watch { glob: glob.map(str::to_owned), since };
        watch::begin(&self.registrar, found.registry, found.responder, found.source, operation)
            .await
    }

    /// Sends a request whose answer is one message.
    async fn request<T>(
        &self,
        question: Question<native::Reply>,
        read: impl FnOnce(native::Reply) -> Option<T>,
    ) -> Result<Answer<T>, RequestError> {
        let (registry, reply) = self.ask(&question).await?;
        let follow_up = FollowUp::by(&self.registrar, &registry, &reply);
        let value = if reply.answer.truncated && registry.transport() == Transport::Udp {
            follow_up.ask_on(Transport::Tcp, &question).await?.answer
        } else {
            reply.answer
        };
        let (responder, source, revision) = (follow_up.reply_from, follow_up.local, value.revision);
        match read(value) {
            Some(value) => Ok(Answer { registry, responder, source, revision, value }),
            None => Err(RequestError::new(follow_up.not_a_reply())),
        }
    }

    /// Sends a request whose answer comes in pages.
    async fn pages(&self, operation: Operation) -> Result<Answer<Vec<Service>>, RequestError> {
        let (registry, reply) = self.ask(&Question::native(operation.clone())).await?;
        let follow_up = FollowUp::by(&self.registrar, &registry, &reply);
        let (responder, source, revision) = (reply.from, reply.local, reply.answer.revision);
        let value = follow_up.all_pages(operation, reply.answer).await?;
        Ok(Answer { registry, responder, source, revision, value })
    }

    async fn ask(
        &self,
        question: &Question<native::Reply>,
    ) -> Result<(RegistryAddr, Reply<native::Reply>), RequestError> {
        let registries = &self.registrar.inner.registries;
        let is_long = question.requests.iter().any(|request| request.len() > MAX_DATAGRAM);
        let over_tcp = is_long.then(|| registries.over_tcp());
        let asked = self.registrar.ask(over_tcp.as_ref().unwrap_or(registries), question).await;
        let error = match asked.map_err(RequestError::new) {
            Ok((registry, reply)) => return Ok((registry.clone(), reply)),
            Err(error) => error,
        };
        // A connection proves the source, so it may have rights that a datagram has not.
        let Some(proving) = forbidden_over_udp(error.attempts()) else { return Err(error) };
        let proving = Registries::from(proving);
        let asked = self.registrar.ask(&proving, question).await;
        asked.map(|(registry, reply)| (registry.clone(), reply)).map_err(|_as_before| error)
    }
}
