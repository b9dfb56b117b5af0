//! Keeping a lease, or doing without one where the registry is RPyC's own.

use std::time::Duration;

use anyhow::{Context, bail};
use rpyc_client::native::{Answer, Granted, Registration, Target};
use rpyc_client::{Registrar, Registries, RequestError};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{joined, legacy, registration};
use crate::cli::RegisterArgs;
use crate::output;

/// How soon after a failure to try again, and how seldom at the most.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// How long a registration under way may still take when all is to end.
const GRACE: Duration = Duration::from_millis(500);

/// Keeps a server registered with one registry, or with one of several.
#[derive(Debug)]
pub(super) struct Keeper {
    args: RegisterArgs,
    target: Registries,
    registrar: Registrar,
    registration: Registration,
}

/// How a try to register went.
enum Tried {
    Granted(Box<Answer<Granted>>),
    /// The registry that answers is RPyC's own; what it said.
    Legacy(String),
}

/// Why a lease is kept no longer.
enum Over {
    /// It was ended as wanted; whether the registry knows.
    Stopped { is_tidy: bool },
    /// There must be another.
    Lost,
}

impl Keeper {
    pub(super) fn new(args: &RegisterArgs, target: Registries) -> Self {
        let mut registrar = Registrar::builder(target.clone()).timeout(args.place.timeout);
        if let Some(bind) = args.place.bind {
            registrar = registrar.source((bind, 0).into());
        }
        let registration = registration(args);
        Self { args: args.clone(), target, registrar: registrar.build(), registration }
    }

    /// Registers in RPyC's own words; tells what has come of it.
    pub(super) async fn once_legacy(&self) -> anyhow::Result<String> {
        legacy::once(&self.args, &self.registrar).await
    }

    /// Registers; tells what has come of it.
    pub(super) async fn once(&self) -> anyhow::Result<String> {
        Ok(match self.register().await? {
            Tried::Granted(granted) => self.line(&granted),
            Tried::Legacy(line) => {
                self.warn_of_legacy();
                line
            }
        })
    }

    /// Keeps it registered until `stop`; tells whether the registry knows of the end.
    ///
    /// # Errors
    /// Why the registry would not have it, at the beginning.
    pub(super) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<bool> {
        let mut retry = FIRST_RETRY;
        let mut was_registered = false;
        let mut told = String::new();
        loop {
            let tried = {
                let registering = self.register();
                tokio::pin!(registering);
                tokio::select! {
                    tried = &mut registering => Some(tried),
                    // What has just been granted can be given back, once it is known.
                    () = stop.cancelled() => timeout(GRACE, registering).await.ok(),
                }
            };
            let Some(tried) = tried else { return Ok(!was_registered) };
            match tried {
                Ok(Tried::Granted(granted)) => {
                    tell(&self.line(&granted));
                    (was_registered, retry) = (true, FIRST_RETRY);
                    told.clear();
                    match self.hold(*granted, &stop).await {
                        Over::Stopped { is_tidy } => return Ok(is_tidy),
                        Over::Lost => continue,
                    }
                }
                Ok(Tried::Legacy(_)) => {
                    self.warn_of_legacy();
                    let announcer = self.announcer();
                    return Ok(legacy::run(&self.args.names, announcer, stop).await);
                }
                Err(error) if !was_registered && is_refusal(&error) => return Err(error),
                Err(error) => {
                    let line = format!("not registered, trying again: {error:#}");
                    if line != told {
                        tell(&line);
                        told = line;
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(!was_registered),
                () = sleep(retry) => {}
            }
            retry = (retry * 2).min(LAST_RETRY);
        }
    }

    /// Begins a lease; or, where nobody understands that, registers in RPyC's own words.
    async fn register(&self) -> anyhow::Result<Tried> {
        let error = match self.registrar.native().register(self.registration.clone()).await {
            Ok(granted) => return Ok(Tried::Granted(Box::new(granted))),
            Err(error) => error,
        };
        if matches!(error, RequestError::Declined(_) | RequestError::NoRegistry(_)) {
            return Err(error).context(joined(&self.args.names));
        }
        // It may be that nobody is there, or RPyC's own registry, which would promise nothing.
        if self.args.told.exclusive {
            bail!("{error}; RPyC's own registry knows no --exclusive");
        }
        self.once_legacy().await.map(Tried::Legacy)
    }

    /// Renews a lease until it is over.
    async fn hold(&mut self, granted: Answer<Granted>, stop: &CancellationToken) -> Over {
        // The lease is known to this registry alone.
        let native = granted.registrar(&self.registrar).native();
        let (lease, source) = (granted.value.lease, granted.source.ip());
        let mut granted = granted.value;
        let mut ends = Instant::now() + Duration::from_millis(granted.ttl_ms);
        let mut wait = self.until_renewal(&granted);
        let mut is_failing = false;
        loop {
            tokio::select! {
                () = sleep(wait) => {}
                () = stop.cancelled() => {
                    let target = Target { lease: Some(lease), ..Target::default() };
                    let ended = native.deregister(target).await;
                    let is_tidy = ended.is_ok_and(|_| true);
                    return Over::Stopped { is_tidy };
                }
            }
            match native.renew(lease).await {
                Ok(renewed)
                    if renewed.source.ip() != source && self.args.told.address.is_empty() =>
                {
                    // This machine has another address now, which the lease does not know.
                    let target = Target { lease: Some(lease), ..Target::default() };
                    if let Err(error) = native.deregister(target).await {
                        tell(&format!("the registration of {source} is not taken back: {error}"));
                    }
                    self.registration.key = Some(key());
                    return Over::Lost;
                }
                Ok(renewed) => {
                    if is_failing {
                        tell(&format!("renewed {}", joined(&self.args.names)));
                    }
                    is_failing = false;
                    granted = renewed.value;
                    ends = Instant::now() + Duration::from_millis(granted.ttl_ms);
                    wait = self.until_renewal(&granted);
                }
                Err(error) if error.is_unknown_lease() => return Over::Lost,
                Err(error) => {
                    if !is_failing {
                        tell(&format!("not renewed, trying again: {error}"));
                    }
                    is_failing = true;
                    if Instant::now() >= ends {
                        return Over::Lost;
                    }
                    wait = (self.until_renewal(&granted) / 4).clamp(FIRST_RETRY, LAST_RETRY);
                }
            }
        }
    }

    /// When the registry wants to hear again, or sooner if that is wanted here.
    fn until_renewal(&self, granted: &Granted) -> Duration {
        let hint = Duration::from_millis(granted.renew_ms);
        self.args.interval.map_or(hint, |interval| interval.min(hint))
    }

    fn announcer(&self) -> rpyc_server::Announcer {
        legacy::announcer(&self.args, &self.target).build()
    }

    fn line(&self, granted: &Answer<Granted>) -> String {
        let Granted { instance, ttl_ms, observed, unreachable, .. } = &granted.value;
        let ttl = output::duration(Duration::from_millis(*ttl_ms));
        let names = joined(&self.args.names);
        let warning = unreachable.as_ref().map(|it| format!("; the registry cannot reach {it}"));
        format!(
            "registered {names} at {} as {observed}, instance {instance}, for {ttl} at a time{}",
            granted.registry,
            warning.unwrap_or_default()
        )
    }

    fn warn_of_legacy(&self) {
        let given = self.args.told.given();
        if !given.is_empty() {
            tell(&format!(
                "WARNING: {} is RPyC's own registry, or as old: it was told names and port, but not {}",
                self.target,
                given.join(", ")
            ));
        }
    }
}

/// Whether the registry understood and would not, so that trying again is for people to decide.
fn is_refusal(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(|error: &RequestError| error.code().is_some())
}

fn tell(line: &str) {
    anstream::eprintln!("{}", output::printable(line));
}

/// A key that no other start of a server has.
pub(super) fn key() -> String {
    format!("{:032x}", fastrand::u128(..))
}
