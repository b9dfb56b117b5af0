//! Keeps a server registered.

mod advert;
mod backoff;
mod builder;
#[cfg(test)]
mod fake;
mod handle;
mod lease;
mod legacy;
mod native;
mod protocol;
mod status;
mod target;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rpyc_client::native::Registration;
use rpyc_client::{Acknowledgement, Port, RegisterError, Registries, ServiceName};
use rpyc_protocol::registry::RENEWAL_INTERVAL;
use tokio::sync::watch;

pub use advert::Advertised;
pub(crate) use advert::{Advert, advert_setters};
pub use builder::AnnouncerBuilder;
pub use handle::AnnouncerHandle;
pub use status::{State, Status};

use target::Target;

/// Keeps names registered for a port of this machine.
///
/// [`run`](Self::run) registers at once, renews at the interval (60 s by default), tries
/// again soon while a registration is not acknowledged, and unregisters at the end. Each registry
/// of [`Registries::all_of`] is served separately; of [`Registries::any_of`],
/// such as [`Registries::nearby`], the first that acknowledges.
///
/// This project's registry grants a lease: the announcer renews it when the registry expects a
/// renewal, registers again if the registry has forgotten, and ends it. RPyC's own gets
/// registrations in its protocol. The announcer finds out what a registry speaks, again every ten
/// minutes.
///
/// A registry returns to clients the address that a registration came from. Unless
/// [`bind`](AnnouncerBuilder::bind) fixes it, it is found anew for each registration; when it has
/// changed, the old one is taken back as far as that is still possible.
#[derive(Debug)]
pub struct Announcer {
    targets: Vec<Target>,
    statuses: watch::Sender<Vec<Status>>,
    wanted: Arc<watch::Sender<bool>>,
    grace: Duration,
}

/// The announced server.
#[derive(Debug)]
struct Offer {
    names: Vec<ServiceName>,
    port: Port,
    advert: Advert,
    /// Identifies this start of the server.
    key: String,
    /// Whether the address is chosen that registrations leave from.
    is_bound: bool,
}

impl Offer {
    fn registration(&self) -> Registration {
        self.advert.registration(&self.names, &self.port, &self.key)
    }
}

/// A key that nobody can guess: the registry returns the secret of the lease to whoever knows it.
fn random_key() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("a system that runs programs has random numbers");
    format!("{:032x}", u128::from_be_bytes(bytes))
}

impl Announcer {
    /// How often to register again by default, as in RPyC.
    pub const DEFAULT_INTERVAL: Duration = RENEWAL_INTERVAL;

    /// How long unregistering may take by default.
    pub const DEFAULT_GRACE: Duration = Duration::from_secs(2);

    /// Announces that `names` are served on `port`, with settings to be chosen.
    pub fn builder(
        names: impl IntoIterator<Item = ServiceName>,
        port: Port,
        registries: Registries,
    ) -> AnnouncerBuilder {
        AnnouncerBuilder::new(names.into_iter().collect(), port, registries)
    }

    fn new(settings: AnnouncerBuilder) -> Self {
        let offer = Arc::new(Offer {
            names: settings.names.clone(),
            port: settings.port.clone(),
            advert: settings.advert.clone(),
            key: random_key(),
            is_bound: settings.bind.is_some_and(|bind| !bind.ip().is_unspecified()),
        });
        let wanted = watch::Sender::new(false);
        let targets = settings.registries.clone().into_targets();
        let statuses = watch::Sender::new(targets.iter().cloned().map(Status::new).collect());
        let targets = targets
            .into_iter()
            .enumerate()
            .map(|(index, target)| {
                Target::new(index, target, Arc::clone(&offer), &settings, wanted.subscribe())
            })
            .collect();
        Self { targets, statuses, wanted: Arc::new(wanted), grace: settings.grace }
    }

    /// The state of each registry, now and whenever it changes.
    ///
    /// ```no_run
    /// # async fn example(announcer: rpyc_server::Announcer) {
    /// let mut status = announcer.status();
    /// let running = announcer.run(std::future::pending::<()>());
    /// let registered = status.wait_for(|all| all.iter().all(|one| one.is_acknowledged()));
    /// # tokio::select! { _ = running => {}, _ = registered => {} }
    /// # }
    /// ```
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Vec<Status>> {
        self.statuses.subscribe()
    }

    /// Drains the server while it is announced.
    #[must_use]
    pub fn handle(&self) -> AnnouncerHandle {
        AnnouncerHandle { wanted: Arc::clone(&self.wanted), statuses: self.status() }
    }

    /// Registers once with each registry, in their order; they forget it after some minutes.
    ///
    /// It is said in RPyC's own protocol, so that
    /// [`Registrar::unregister`](rpyc_client::Registrar::unregister) can end it. With tags,
    /// metadata, weight, zone, TTL, addresses or a name to be held alone it takes a lease where
    /// that is granted, which only its end or an operator ends.
    ///
    /// # Errors
    /// A [`RegisterError`] in the place of each registry that did not acknowledge.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the acknowledgements; registrations may have been taken.
    pub async fn announce_once(&self) -> Vec<Result<Acknowledgement, RegisterError>> {
        let mut outcomes = Vec::new();
        for outcome in join_all(self.targets.iter().map(Target::register)).await {
            match outcome {
                Ok(acknowledgements) => outcomes.extend(acknowledgements.into_iter().map(Ok)),
                Err(error) => outcomes.push(Err(error)),
            }
        }
        outcomes
    }

    /// Announces until `shutdown` completes, then unregisters within the grace.
    ///
    /// Returns whether all registrations ended: every registry that had acknowledged knows that it
    /// is over. The others remember it for some minutes.
    ///
    /// # Cancel safety
    /// Dropping the future ends the announcement without unregistering.
    pub async fn run(mut self, shutdown: impl Future) -> bool {
        let statuses = &self.statuses;
        let kept: Vec<_> = self.targets.iter_mut().map(|target| target.keep(statuses)).collect();
        let keeping = async {
            // Ends only where there is nothing to keep.
            join_all(kept).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            _ = shutdown => {}
            () = keeping => {}
        }
        let withdrawn: Vec<_> =
            self.targets.iter().map(|target| target.withdraw(self.grace, statuses)).collect();
        join_all(withdrawn).await.into_iter().all(|is_tidy| is_tidy)
    }
}
