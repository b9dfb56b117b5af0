//! Runs the program and the daemon as a user would.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longer than any step of these tests takes; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rpyc-registry"));
    // No test may reach beyond this machine: every test names its registries.
    command.args(args).env_remove("RPYC_REGISTRY").env_remove("NO_COLOR").stdin(Stdio::null());
    // No test may write to a home directory: a daemon without an explicit directory does not start.
    command.env("STATE_DIRECTORY", "/dev/null/state");
    command
}

/// Runs a program to its end, with a state directory in case it is a daemon.
pub(crate) fn run(args: &[&str]) -> Output {
    let state = TempDir::new().unwrap();
    command(args).env("STATE_DIRECTORY", state.path()).output().unwrap()
}

#[track_caller]
pub(crate) fn check(args: &[&str], code: i32) -> (String, String) {
    let output = run(args);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{stdout}\n{stderr}");
    (stdout, stderr)
}

pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) urls: Vec<String>,
    _state: TempDir,
}

impl Daemon {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::with_listeners(args, 2)
    }

    pub(crate) fn with_listeners(args: &[&str], n: usize) -> Self {
        let args = [&["-p", "0"], args].concat();
        let state = TempDir::new().unwrap();
        let mut command = command(&args);
        command.env("STATE_DIRECTORY", state.path());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = |line: String| {
            line.strip_prefix("rpyc-registry listening on ")
                .unwrap_or_else(|| panic!("{line}"))
                .to_owned()
        };
        let urls = lines.take(n).map(|line| url(line.unwrap())).collect();
        Self { child, urls, _state: state }
    }

    pub(crate) fn port(&self) -> u16 {
        self.urls[0].rsplit(':').next().unwrap().parse().unwrap()
    }

    pub(crate) fn registry(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never {what}");
        std::thread::yield_now();
    }
}

/// The terminal output of a program with these arguments, until it ends or has shown `until`.
#[cfg(target_os = "linux")]
pub(crate) fn on_a_terminal(args: &[&str], no_color: &str, until: &str) -> String {
    use std::fs::File;
    use std::io::Read;

    let terminal = nix::pty::openpty(None, None).unwrap();
    let screen = || Stdio::from(terminal.slave.try_clone().unwrap());
    let mut command = command(args);
    let state = TempDir::new().unwrap();
    command.stdout(screen()).stderr(screen()).env("NO_COLOR", no_color).env("TERM", "xterm");
    command.env("STATE_DIRECTORY", state.path());
    let mut child = command.spawn().unwrap();
    // Now only the child holds the terminal, so the output ends with it.
    drop((command, terminal.slave));
    let mut shown = Vec::new();
    let mut piece = [0; 1024];
    let mut master = File::from(terminal.master);
    while let Ok(len @ 1..) = master.read(&mut piece) {
        shown.extend(&piece[..len]);
        if !until.is_empty() && String::from_utf8_lossy(&shown).contains(until) {
            let _ = child.kill();
        }
    }
    child.wait().unwrap();
    String::from_utf8_lossy(&shown).into_owned()
}
