//! Following changes, in a pipe and on a terminal.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use super::daemon::{Daemon, check, command};
use super::operator::register;

struct Watcher {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Watcher {
    fn start(args: &[&str]) -> Self {
        let args = [&["watch"], args].concat();
        let mut child = command(&args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }

    /// Reads up to the next line with this event; returns the port, if the line has one.
    fn until(&mut self, event: &str) -> Option<u64> {
        loop {
            let line = self.next();
            if line["event"] == event {
                return line["instance"]["port"].as_u64();
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn each_change_is_a_line_of_json_in_a_pipe() {
    let daemon = Daemon::start(&[]);
    let registry = daemon.registry();
    register(&daemon, &["payroll"], 1, &json!({"tags": ["x"]}));
    let mut watcher = Watcher::start(&["PAY*", "--registry", &registry]);
    let first = watcher.next();
    assert_eq!((&first["event"], &first["name"]), (&json!("added"), &json!("PAYROLL")));
    assert_eq!(first["instance"]["tags"], json!(["x"]));
    assert_eq!(watcher.next()["event"], "current");
    register(&daemon, &["other"], 2, &json!({}));
    let id = register(&daemon, &["payday"], 3, &json!({})).to_string();
    assert_eq!(watcher.until("added"), Some(3), "only what was asked for");
    check(&["drain", "--instance", &id, "--registry", &daemon.operators()], 0);
    let updated = watcher.next();
    assert_eq!(updated["instance"]["state"], "draining");
    assert_eq!(updated["instance"]["why"], "drained by an operator, until an operator undrains it");
    check(&["deregister", "--instance", &id, "--registry", &daemon.operators()], 0);
    assert_eq!(watcher.until("removed"), Some(3));
}

#[test]
fn a_watch_goes_on_when_the_registry_has_restarted() {
    let first = Daemon::start(&["--host", "127.0.0.1"]);
    let (registry, port) = (first.registry(), first.port().to_string());
    register(&first, &["a"], 1, &json!({}));
    let mut watcher = Watcher::start(&["--registry", &registry]);
    watcher.until("current");
    drop(first);
    watcher.until("disconnected");
    let second = Daemon::start(&["serve", "--host", "127.0.0.1", "-p", &port]);
    assert_eq!(second.registry(), registry);
    watcher.until("connected");
    register(&second, &["b"], 2, &json!({}));
    watcher.until("reset");
    assert_eq!(watcher.until("added"), Some(2));
}

#[test]
fn a_watch_ends_with_its_signal_or_its_reader_and_needs_a_registry() {
    let daemon = Daemon::start(&[]);
    let registry = daemon.registry();
    let mut watcher = Watcher::start(&["--registry", &registry]);
    watcher.until("current");
    let pid = watcher.child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(watcher.child.wait().unwrap().code(), Some(0));

    let mut child = command(&["watch", "--registry", &registry]);
    let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    register(&daemon, &["a"], 1, &json!({}));
    assert_eq!(child.wait().unwrap().code(), Some(0), "the output is no longer read");

    let (_, error) = check(&["watch", "-o", "table", "--registry", &registry], 2);
    assert!(error.contains("terminal"), "{error}");
    let closed = Daemon::start(&["-l", "false"]);
    let (_, error) = check(&["watch", "--registry", &closed.registry()], 1);
    assert!(error.contains("forbidden"), "{error}");
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_, error) = check(&["watch", "--registry", &nobody.to_string()], 1);
    assert!(error.contains(&nobody.to_string()), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_gets_a_table_that_is_drawn_over_with_colours_unless_unwanted() {
    use super::daemon::on_a_terminal;

    let daemon = Daemon::start(&[]);
    let registry = daemon.registry();
    let id = register(&daemon, &["\u{1b}[31mevil"], 1, &json!({"tags": ["\u{1b}[2J"]})).to_string();
    check(&["drain", "--instance", &id, "--registry", &daemon.operators()], 0);
    let args = ["watch", "--registry", &registry];
    for (no_color, has_colours) in [("", true), ("1", false)] {
        let shown = on_a_terminal(&args, no_color, "drained by");
        assert!(shown.contains("\u{1b}[?1049h") && shown.contains("\u{1b}[H"), "{shown:?}");
        assert!(shown.contains("1 registration: 1 draining"), "{shown:?}");
        assert_eq!(shown.contains("\u{1b}[36m"), has_colours, "{shown:?}");
        assert!(!shown.contains("\u{1b}[31m") && !shown.contains("\u{1b}[2J"), "{shown:?}");
        assert!(shown.contains("\\u{1b}[31MEVIL"), "{shown:?}");
    }
}
