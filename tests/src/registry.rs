//! A registry under test: the daemon or RPyC's own.
//!
//! A scenario that also holds for RPyC's own registry runs against both. That control proves that
//! the behaviour is RPyC's.

use std::net::SocketAddr;
use std::time::Duration;

use crate::daemon::Daemon;
use crate::listener::{Listener, Transport};
use crate::process::Process;
use crate::python;
use crate::reference::Reference;

/// The settings of a registry that scenarios use and both registries share.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Settings {
    timeout: Option<Duration>,
    listing: bool,
}

impl Settings {
    /// Sets the TTL of registrations, in whole seconds. The default is RPyC's 240 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Lets every client list the names. Without it, no client can.
    #[must_use]
    pub fn listing(mut self) -> Self {
        self.listing = true;
        self
    }
}

/// A registry that a scenario can start and query; dropping it stops it.
pub trait Registry: Sized {
    /// Starts the registry on this machine.
    fn start(settings: Settings) -> Self;

    /// A loopback address of the registry.
    fn address(&self, transport: Transport) -> SocketAddr;
}

impl Registry for Daemon {
    fn start(settings: Settings) -> Self {
        let timeout = settings.timeout.map(|timeout| timeout.as_secs().to_string());
        let mut arguments = Vec::new();
        if let Some(timeout) = &timeout {
            arguments.extend(["--timeout", timeout]);
        }
        arguments.extend(["--listing", if settings.listing { "true" } else { "false" }]);
        Self::start(&arguments)
    }

    fn address(&self, transport: Transport) -> SocketAddr {
        self.address(transport)
    }
}

/// The registry of rpyc 6.0.2 (5.3.1 has the same), over UDP and TCP.
#[derive(Debug)]
pub struct Control {
    listeners: Vec<Listener>,
    _process: Process,
}

impl Registry for Control {
    fn start(settings: Settings) -> Self {
        let mut options = Vec::new();
        if let Some(timeout) = settings.timeout {
            options.push(format!("--timeout={}", timeout.as_secs_f64()));
        }
        if settings.listing {
            options.push("--listing".to_owned());
        }
        let process = python::script(Reference::Rpyc6, None, "registry.py", &options);
        let listeners = process.wait_for("lines of 2 listeners", |lines| {
            let listeners: Vec<_> = lines.iter().filter_map(|line| Listener::parse(line)).collect();
            (listeners.len() == 2).then_some(listeners)
        });
        Self { listeners, _process: process }
    }

    fn address(&self, transport: Transport) -> SocketAddr {
        let found = self.listeners.iter().find(|listener| listener.transport == transport);
        found.expect("it listens on both").address
    }
}
