//! The daemon, built from the current sources.

use std::net::{Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::listener::{Listener, Transport};
use crate::namespace::Host;
use crate::process::{Process, Signal};
use crate::programs;
use crate::scratch::Scratch;

/// A running daemon; dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    /// The default state directory of the daemon.
    state: Scratch,
}

impl Daemon {
    /// Starts the daemon on a free port of this machine and waits until it listens.
    pub fn start(arguments: &[&str]) -> Self {
        Self::launch(Command::new(executable()), &[&["--port", "0"], arguments].concat())
    }

    /// Starts a daemon on the port of an earlier one, and waits until it listens.
    ///
    /// Its state directory is empty unless `arguments` name another.
    pub fn start_at(port: u16, arguments: &[&str]) -> Self {
        let port = port.to_string();
        Self::launch(Command::new(executable()), &[&["--port", &port], arguments].concat())
    }

    /// Starts a daemon on the port of an earlier one and with its `state`, and waits until it
    /// listens.
    pub fn restart(port: u16, state: &Path, arguments: &[&str]) -> Self {
        let state = state.to_str().expect("scratch paths are text");
        let port = port.to_string();
        let place = ["--port", &port, "--state-dir", state];
        Self::launch(Command::new(executable()), &[&place, arguments].concat())
    }

    /// Starts the daemon on `host` and waits until it listens.
    ///
    /// It uses the default port unless `arguments` name another.
    pub fn start_on(host: &Host, arguments: &[&str]) -> Self {
        Self::launch(host.command(executable()), arguments)
    }

    /// Starts the daemon on a free port of this machine and waits until it has `n_listeners`.
    ///
    /// Use it where the harness cannot derive that number from the arguments, as with a file.
    pub fn with_listeners(arguments: &[&str], n_listeners: usize) -> Self {
        let arguments = [&["--port", "0"], arguments].concat();
        Self::run(Command::new(executable()), &arguments, n_listeners)
    }

    fn launch(command: Command, arguments: &[&str]) -> Self {
        Self::run(command, arguments, expected_listeners(arguments))
    }

    fn run(mut command: Command, arguments: &[&str], n_listeners: usize) -> Self {
        let state = Scratch::new();
        // The tests must not touch the directories of the user's daemon.
        command.args(arguments).env_remove("RPYC_REGISTRY").env("STATE_DIRECTORY", state.path());
        command.env_remove("RUNTIME_DIRECTORY").env("XDG_RUNTIME_DIR", state.path());
        let process = Process::start("rpyc-registry", command);
        let daemon = Self { process, state };
        daemon.wait_for_listeners(n_listeners);
        daemon
    }

    fn wait_for_listeners(&self, n: usize) {
        self.process.wait_for(&format!("lines of {n} listeners"), |lines| {
            (lines.iter().filter_map(|line| Listener::parse(line)).count() >= n).then_some(())
        });
    }

    /// The listeners that the daemon has announced.
    pub fn listeners(&self) -> Vec<Listener> {
        self.process.stdout().lines().filter_map(Listener::parse).collect()
    }

    /// A local address of the daemon for `transport`.
    pub fn address(&self, transport: Transport) -> SocketAddr {
        let listeners = self.listeners();
        let listener = listeners.iter().find(|listener| listener.transport == transport);
        let none = || panic!("no {transport:?} among {listeners:?}");
        listener.unwrap_or_else(none).local_address()
    }

    /// The announced listeners as `udp://ADDRESS` and `tcp://ADDRESS`.
    pub fn urls(&self) -> Vec<String> {
        let output = self.process.stdout();
        let urls = output.lines().filter_map(|line| line.split_once(" listening on "));
        urls.map(|(_, url)| url.to_owned()).collect()
    }

    /// The daemon's address on this machine, in the form that the command line accepts.
    pub fn registry(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// The daemon's socket for operators, in the form that the command line accepts.
    pub fn operators(&self) -> String {
        let find = |lines: &[String]| {
            let mut announced = lines.iter().filter_map(|line| line.split_once(" operators at "));
            announced.find_map(|(_, url)| url.starts_with("unix:").then(|| url.to_owned()))
        };
        self.process.wait_for("socket for operators", find)
    }

    /// The path of the daemon's socket for operators.
    pub fn operator_socket(&self) -> PathBuf {
        self.operators().trim_start_matches("unix:").into()
    }

    /// The text that the daemon has written to standard output so far.
    pub fn output(&self) -> String {
        self.process.stdout()
    }

    /// The port on which the daemon listens.
    pub fn port(&self) -> u16 {
        self.listeners().first().expect("it listens").address.port()
    }

    /// The default state directory of the daemon; dropping this handle removes it.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The text that the daemon has written to standard error so far.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// Waits until a line of standard error contains `text`.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        self.process.wait_for_error(text);
    }

    /// Suspends the daemon (SIGSTOP) until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// Resumes the daemon after [`pause`](Self::pause) (SIGCONT).
    pub fn resume(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// Kills the daemon (SIGKILL).
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// Terminates the daemon (SIGTERM) and waits for its exit.
    pub fn terminate(self) -> ExitStatus {
        self.end(Signal::SIGTERM)
    }

    /// Sends a terminating `signal` to the daemon and waits for its exit.
    pub fn end(mut self, signal: Signal) -> ExitStatus {
        self.process.signal(signal);
        self.process.wait()
    }
}

/// The daemon announces one listener for each transport and `--host`.
fn expected_listeners(arguments: &[&str]) -> usize {
    let given = |names: &[&str]| {
        let named =
            |argument: &&&str| names.contains(&argument.split('=').next().unwrap_or(argument));
        arguments.iter().filter(named).count()
    };
    let transports = if given(&["-m", "--mode"]) > 0 { 1 } else { 2 };
    transports * given(&["--host"]).max(1)
}

/// The daemon's executable, built from the current sources.
pub fn executable() -> &'static Path {
    programs::path("rpyc-registry")
}

/// Returns a free port that the system never assigns to a socket bound to port 0, so it stays free
/// while a daemon restarts.
pub fn lasting_port() -> u16 {
    /// Below the ephemeral range of systems, above the usual ports of services.
    const RANGE: std::ops::Range<u16> = 20_000..30_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let is_free = |port: &u16| {
        let any = (Ipv6Addr::UNSPECIFIED, *port);
        TcpListener::bind(any).is_ok() && UdpSocket::bind(any).is_ok()
    };
    let offset = std::process::id() * 37;
    let next = || offset.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    let len = u32::from(RANGE.end - RANGE.start);
    let candidates = std::iter::repeat_with(next)
        .filter_map(|number| Some(RANGE.start + u16::try_from(number % len).ok()?));
    candidates.take(RANGE.len()).find(is_free).expect("one of ten thousand ports is free")
}
