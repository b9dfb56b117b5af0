//! The settings of a resolver.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::known::Bounds;
use super::status::Event;
use super::{LoadBalancing, Resolver};
use crate::{Registrar, Registries};

/// Called with everything notable.
pub(super) type Hook = Arc<dyn Fn(&Event) + Send + Sync>;

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) load_balancing: LoadBalancing,
    pub(super) zone: Option<String>,
    pub(super) bounds: Bounds,
    pub(super) poll: Duration,
    pub(super) idle: Duration,
    pub(super) max_names: usize,
    pub(super) hook: Option<Hook>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("load_balancing", &self.load_balancing)
            .finish_non_exhaustive()
    }
}

/// Settings for a [`Resolver`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ResolverBuilder {
    registrar: Registrar,
    settings: Settings,
}

impl ResolverBuilder {
    pub(super) fn new(registrar: Registrar) -> Self {
        let settings = Settings {
            load_balancing: LoadBalancing::default(),
            zone: None,
            bounds: Bounds { stale: Resolver::DEFAULT_STALE, grace: Resolver::DEFAULT_GRACE },
            poll: Resolver::DEFAULT_POLL,
            idle: Resolver::DEFAULT_IDLE,
            max_names: Resolver::DEFAULT_MAX_NAMES,
            hook: None,
        };
        Self { registrar, settings }
    }

    /// How the server to connect to is chosen. Default [`LoadBalancing::WeightedRandom`].
    pub fn load_balancing(mut self, load_balancing: LoadBalancing) -> Self {
        self.settings.load_balancing = load_balancing;
        self
    }

    /// Where this program is: servers of the same zone come before equally good ones elsewhere.
    /// Default: nowhere in particular.
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.settings.zone = Some(zone.into());
        self
    }

    /// How long the last good answer is used while no registry answers. Default 10 min.
    ///
    /// Servers go on serving when a registry is gone, so a long time is better than a short one;
    /// this bounds how long a server that has moved meanwhile is missed. Zero uses none.
    pub fn stale(mut self, stale: Duration) -> Self {
        self.settings.bounds.stale = stale;
        self
    }

    /// How long servers are kept that the registry no longer returns because it returned an empty
    /// answer, or lost its table. Default 75 s: servers register every minute, so a registry that
    /// has forgotten all knows them again by then. Servers that were drained or are replaced by
    /// others are not kept. Zero keeps none.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.bounds.grace = grace;
        self
    }

    /// How often a registry is asked that cannot be watched, off by up to a fifth. Default 15 s.
    pub fn poll(mut self, poll: Duration) -> Self {
        self.settings.poll = poll.max(Duration::from_millis(10));
        self
    }

    /// How long an unused name is kept. Default 10 min.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.settings.idle = idle;
        self
    }

    /// How many names are kept at a time. Default 1024. Each may take a connection to the registry.
    /// Further names are asked for each time.
    pub fn max_names(mut self, names: usize) -> Self {
        self.settings.max_names = names;
        self
    }

    /// Calls `hook` with each event, as it happens. It must not block. Events also go to
    /// `tracing`, and are counted in [`Resolver::stats`]. Default: none.
    pub fn on_event(mut self, hook: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.settings.hook = Some(Arc::new(hook));
        self
    }

    /// How long an answer of a registry is waited for, all of them together. Default 2 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.registrar = self.registrar.to_builder().timeout(timeout).build();
        self
    }

    /// Asks these registries instead.
    pub fn registries(mut self, registries: impl Into<Registries>) -> Self {
        self.registrar = self.registrar.to_builder().registries(registries.into()).build();
        self
    }

    /// The resolver. It starts nothing before it is asked.
    #[must_use]
    pub fn build(self) -> Resolver {
        Resolver::from_settings(self.registrar, self.settings)
    }
}
