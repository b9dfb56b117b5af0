//! The log of the daemon: it never stops the registry, it is reopened, and its fields have types.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rpyc_tests::eventually;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::daemon::{Daemon, PATIENCE, check, command, run, wait_until};
use super::operator::register;

/// A daemon whose standard output only is read.
struct Stuck {
    child: Child,
    registry: String,
    _state: TempDir,
}

impl Stuck {
    /// Starts a daemon on a free port, with standard error going to `stderr`.
    fn start(args: &[&str], stderr: Stdio) -> Self {
        let state = TempDir::new().unwrap();
        let args = [&["-p", "0", "--host", "127.0.0.1", "-m", "tcp"], args].concat();
        let mut command = command(&args);
        let command = command.env("STATE_DIRECTORY", state.path());
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let registry = line.trim().rsplit_once(' ').unwrap().1.to_owned();
        Self { child, registry, _state: state }
    }

    /// Registers until the log must be longer than a pipe, then checks that the daemon answers.
    fn serves(&self) {
        // Each of these characters takes five in the log: 64 names are 80 kB.
        let name = |i: usize| format!("{i:02}{}", "\u{1}".repeat(250));
        let names: Vec<_> = (0..64).map(name).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let to_here = ["--once", "--registry", &self.registry];
        for port in ["1", "2"] {
            check(&[&["register", "--port", port][..], &to_here, &names].concat(), 0);
        }
        check(&["lookup", names[0], "--registry", &self.registry], 0);
    }

    fn ends(&mut self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        let status = eventually("the end", PATIENCE, || self.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_standard_error_that_nobody_reads_stops_nothing() {
    let mut daemon = Stuck::start(&[], Stdio::piped());
    daemon.serves();
    daemon.ends();
}

#[test]
fn a_log_file_that_hangs_stops_nothing() {
    let directory = TempDir::new().unwrap();
    let fifo = directory.path().join("log");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let args = ["--logfile", fifo.to_str().unwrap()];
    // Nobody opens the other end, so that the file cannot even be opened.
    let mut daemon = Stuck::start(&args, Stdio::null());
    daemon.serves();
    daemon.ends();
    // Somebody opens the other end and does not read.
    let opening = std::thread::spawn({
        let fifo = fifo.clone();
        move || File::open(fifo).unwrap()
    });
    let mut daemon = Stuck::start(&args, Stdio::null());
    let mut reader = opening.join().unwrap();
    daemon.serves();
    // Then it reads, and gets the lines that waited.
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    while !String::from_utf8_lossy(&text).contains("63\\u{1}") {
        let len = reader.read(&mut piece).unwrap();
        assert!(len > 0, "the log has ended");
        text.extend_from_slice(&piece[..len]);
    }
    drop(reader);
    daemon.ends();
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn a_hang_up_reopens_the_log_file() {
    let directory = TempDir::new().unwrap();
    let (log, rotated) = (directory.path().join("log"), directory.path().join("log.1"));
    let daemon = Daemon::start(&["--logfile", log.to_str().unwrap()]);
    let hang_up = || {
        kill(Pid::from_raw(i32::try_from(daemon.pid()).unwrap()), Signal::SIGHUP).unwrap();
    };
    register(&daemon, &["before"], 1, &json!({}));
    wait_until("logged", || read(&log).contains("BEFORE"));
    std::fs::rename(&log, &rotated).unwrap();
    hang_up();
    wait_until("reopened", || read(&log).contains("reopened the log file"));
    register(&daemon, &["after"], 2, &json!({}));
    wait_until("logged", || read(&log).contains("AFTER"));
    assert!(!read(&rotated).contains("AFTER") && !read(&log).contains("BEFORE"));
    // A file that cannot be opened leaves the old one in use.
    std::fs::rename(&log, &rotated).unwrap();
    std::fs::create_dir(&log).unwrap();
    hang_up();
    wait_until("reported", || read(&rotated).contains("cannot open the log file"));
    register(&daemon, &["still"], 3, &json!({}));
    wait_until("logged", || read(&rotated).contains("STILL"));
    assert!(daemon.terminate().success());
}

#[test]
fn a_hang_up_without_a_log_file_changes_nothing() {
    let daemon = Daemon::start(&[]);
    kill(Pid::from_raw(i32::try_from(daemon.pid()).unwrap()), Signal::SIGHUP).unwrap();
    register(&daemon, &["a"], 1, &json!({}));
    daemon.wait_for_log("registered");
    assert!(daemon.terminate().success());
}

#[test]
fn fields_of_a_json_log_have_their_types() {
    let daemon = Daemon::start(&["--log-format", "json"]);
    register(&daemon, &["x"], 5, &json!({}));
    check(&["drain", "x", "--registry", &daemon.operators()], 0);
    daemon.wait_for_log("drained");
    let log = daemon.log();
    let line = |what: &str| -> Value {
        let line = log.lines().find(|line| line.contains(&format!("\"{what}\"")));
        serde_json::from_str(line.unwrap()).unwrap()
    };
    let registered = line("registered");
    assert_eq!((&registered["name"], &registered["port"]), (&json!("X"), &json!(5)));
    assert_eq!(line("drained")["port"], 5);
    check(
        &["register", "y", "--port", "/run/y.sock", "--once", "--registry", &daemon.registry()],
        0,
    );
    daemon.wait_for_log("/run/y.sock");
    assert!(daemon.log().contains("\"port\":\"/run/y.sock\""), "{}", daemon.log());
}

#[test]
fn a_refusal_is_logged_with_its_source_and_reason() {
    let daemon = Daemon::start(&[]);
    let registry = daemon.registry();
    let lead = |port| {
        let args = ["register", "lead", "--exclusive", "--once", "--port", port];
        run(&[&args[..], &["--registry", &registry]].concat()).status.code()
    };
    assert_eq!((lead("1"), lead("2")), (Some(0), Some(1)));
    daemon.wait_for_log("LEAD is already served by 127.0.0.1 port 1");
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("already served")).unwrap();
    assert!(line.contains("kind=\"refused\" source=127.0.0.1"), "{line}");
    let (status, _) = check(&["status", "--registry", &registry], 0);
    assert!(status.contains("1 refused: "), "{status}");
}

#[test]
fn a_list_that_is_forbidden_is_logged() {
    let daemon = Daemon::start(&["--listing", "nobody"]);
    run(&["list", "--registry", &daemon.registry()]);
    daemon.wait_for_log("reason=this client may not list names");
}

#[test]
fn a_quiet_daemon_prints_nothing_but_errors() {
    let state = TempDir::new().unwrap();
    let port = rpyc_tests::lasting_port().to_string();
    let mut quiet = command(&["-q", "--host", "127.0.0.1", "-p", &port, "-t", "40s"]);
    let quiet = quiet.env("STATE_DIRECTORY", state.path());
    let mut child = quiet.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let registry = format!("127.0.0.1:{port}");
    wait_until("serving", || run(&["list", "--registry", &registry]).status.success());
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_fatal_error_is_in_the_log_file_in_its_format_and_on_standard_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let directory = TempDir::new().unwrap();
    let log = directory.path().join("log");
    let daemon = ["-q", "-m", "tcp", "--host", "127.0.0.1", "-p", &port, "--log-format", "json"];
    let (_, error) = check(&[&daemon[..], &["--logfile", log.to_str().unwrap()]].concat(), 1);
    assert!(error.starts_with("rpyc-registry: cannot listen on tcp://127.0.0.1:"), "{error}");
    let lines = read(&log);
    let line: Value = serde_json::from_str(lines.trim()).unwrap();
    assert_eq!(line["level"], "ERROR");
    assert!(line["message"].as_str().unwrap().starts_with("cannot listen on"), "{line}");
    // Without a file the log is standard error, which gets it once.
    let (_, error) = check(&daemon, 1);
    let line: Value = serde_json::from_str(error.trim()).unwrap();
    assert!(line["message"].as_str().unwrap().starts_with("cannot listen on"), "{line}");
}

#[test]
fn a_timeout_shorter_than_the_renewals_of_rpyc_is_warned_of() {
    let warning = "timeout 40s (command line) is too short for RPyC's servers";
    let daemon = Daemon::start(&["--timeout", "40s"]);
    daemon.wait_for_log(warning);
    let (shown, remarks) = check(&["check-config", "--timeout", "40s"], 0);
    assert!(shown.contains("timeout = \"40s\"") && remarks.contains(warning), "{remarks}");
    let (_, remarks) = check(&["check-config"], 0);
    assert_eq!(remarks, "");
}
