//! A real RPyC server that announces itself.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use crate::namespace::Host;
use crate::process::Process;
use crate::python;
use crate::reference::Reference;
use crate::registrar::Via;

/// The options of a [`Server`]; [`Server::named`] makes them.
#[derive(Debug, Clone)]
#[must_use]
pub struct ServerOptions {
    options: Vec<String>,
    via: Via,
    host: Option<Host>,
    placed: bool,
}

impl ServerOptions {
    /// Sets the way to the registry. The default is RPyC's.
    pub fn via(mut self, via: Via) -> Self {
        self.via = via;
        self
    }

    /// Runs on `host`, where it listens on every address.
    pub fn on(mut self, host: &Host) -> Self {
        self.host = Some(host.clone());
        self.placed = true;
        self
    }

    /// Listens on this address only, and registers from it.
    pub fn bind(mut self, address: IpAddr) -> Self {
        self.options.push(format!("--bind={address}"));
        if address.is_ipv6() {
            self.options.push("--ipv6".to_owned());
        }
        self.placed = true;
        self
    }

    /// Listens on a unix socket.
    pub fn socket_path(mut self, path: &Path) -> Self {
        self.options.push(format!("--socket-path={}", path.display()));
        self.placed = true;
        self
    }

    /// Renews every `interval` instead of every minute. RPyC checks its clock once a second.
    pub fn renewing_every(mut self, interval: Duration) -> Self {
        self.options.push(format!("--renew={}", interval.as_secs_f64()));
        self
    }

    /// Starts the server with this version of RPyC and waits until it listens.
    #[track_caller]
    pub fn start(self, reference: Reference) -> Server {
        let Self { mut options, via, host, placed } = self;
        if !placed {
            options.push("--bind=127.0.0.1".to_owned());
        }
        assert!(host.is_some() || via != Via::Default, "outside a namespace nothing broadcasts");
        options.extend(via.options());
        let process = python::script(reference, host.as_ref(), "server.py", &options);
        let port = process.wait_for("READY", |lines| {
            lines.iter().find_map(|line| line.strip_prefix("READY ").map(str::to_owned))
        });
        Server { process, port }
    }

    /// Like [`start`](Self::start), but also waits until the registry has acknowledged the server.
    #[track_caller]
    pub fn start_registered(self, reference: Reference) -> Server {
        let server = self.start(reference);
        server.wait_for_registrations(1);
        server
    }
}

/// A running Python server; dropping it kills the process without deregistering.
///
/// It serves `pid()` and `echo(value)`.
#[derive(Debug)]
pub struct Server {
    process: Process,
    port: String,
}

impl Server {
    /// A server of a service with these names: in RPyC's terms a name, and its aliases.
    pub fn named(names: &[&str]) -> ServerOptions {
        let options = names.iter().map(|name| format!("--name={name}")).collect();
        ServerOptions { options, via: Via::Default, host: None, placed: false }
    }

    /// The TCP port on which the server listens.
    pub fn port(&self) -> u16 {
        self.port.parse().expect("a server on TCP has a port number")
    }

    /// The process id, which the server's `pid` method also returns.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The numbers of its registrations so far that the registry acknowledged, and that it did not.
    pub fn registrations(&self) -> (usize, usize) {
        let seen = self.process.stdout();
        let count = |answer| seen.lines().filter(|line| *line == answer).count();
        (count("REGISTERED yes"), count("REGISTERED no"))
    }

    /// Waits until a registry has acknowledged `n` of its registrations in total.
    #[track_caller]
    pub fn wait_for_registrations(&self, n: usize) {
        self.wait_for("REGISTERED yes", n);
    }

    /// Waits until `n` of its registrations in total got no reply.
    #[track_caller]
    pub fn wait_for_refusals(&self, n: usize) {
        self.wait_for("REGISTERED no", n);
    }

    #[track_caller]
    fn wait_for(&self, answer: &str, n: usize) {
        self.process.wait_for(&format!("{answer} {n} times"), |lines| {
            (lines.iter().filter(|line| *line == answer).count() >= n).then_some(())
        });
    }

    /// Shuts the server down in order: it deregisters first.
    #[track_caller]
    pub fn close(mut self) {
        self.process.close_stdin();
        let status = self.process.wait();
        assert!(status.success(), "the server ended badly:\n{}", self.process.stderr());
    }

    /// Kills the server (SIGKILL) like a crash: it does not deregister.
    pub fn kill(mut self) {
        self.process.kill();
    }
}
