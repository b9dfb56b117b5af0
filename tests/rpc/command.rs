//! The command line with real RPyC servers.

use std::process::Command;

use rpyc_tests::{Daemon, Reference, Transport, daemon};

use super::Python;

/// Runs the command line and returns its exit code, standard output and standard error.
fn run(registry: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(daemon::executable());
    let output = command.args(args).env("RPYC_REGISTRY", registry).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Starts a registry with a server of each version, registered as EVERYTHING.
fn everything() -> (Daemon, String, Vec<Python>) {
    let daemon = Daemon::start(&[]);
    let registry = daemon.address(Transport::Udp).to_string();
    let servers: Vec<_> =
        Reference::ALL.into_iter().map(|reference| Python::start(reference, &[])).collect();
    for server in &servers {
        let port = server.address.rsplit(':').next().unwrap();
        let registered = run(&registry, &["register", "everything", "--port", port, "--once"]);
        assert_eq!(registered.0, Some(0), "{registered:?}");
    }
    (daemon, registry, servers)
}

#[test]
fn a_method_is_called_with_words_and_its_result_printed_as_python_would() {
    let (_daemon, registry, servers) = everything();
    let name_and_addresses = ["everything", &servers[0].address, &servers[1].address];
    for target in name_and_addresses {
        for (words, printed) in [
            (&["get_salary", "last=Mertz", "first=David"][..], "5000.5"),
            (&["echo", "-1"], "-1"),
            (&["echo", "David"], "'David'"),
            (&["echo", "'42'"], "'42'"),
            (&["echo", "(1, 'x', None)"], "(1, 'x', None)"),
            (&["echo", "[1, {'two': [2]}]"], "[1, {'two': [2]}]"),
            (&["sum", "[1, 2.5]"], "3.5"),
            (&["echo", "--", "--odd"], "'--odd'"),
            (&["payload", "1"], r"b'\xa5'"),
            (&["table"], "[1, 'two', {'three': [3, 3, 3]}]"),
            (&["record"], "('Mertz', 5000.5, ('a', 'b'))"),
        ] {
            let (code, out, error) = run(&registry, &[&["call", target], words].concat());
            assert_eq!((code, out.trim_end()), (Some(0), printed), "{target} {words:?} {error}");
        }
        for (words, json) in [
            (&["table", "-o", "json"][..], r#"[1,"two",{"three":[3,3,3]}]"#),
            (&["payload", "2", "-o", "json"], r#"{"bytes":"a5a5"}"#),
            (&["echo", "-o", "json", "None"], "null"),
            (&["echo", "{1: [2, 'x']}", "-o", "json"], r#"{"1":[2,"x"]}"#),
        ] {
            let (code, out, error) = run(&registry, &[&["call", target], words].concat());
            assert_eq!(code, Some(0), "{error}");
            let printed: serde_json::Value = serde_json::from_str(&out).unwrap();
            assert_eq!(printed.to_string(), json, "{target} {words:?}");
        }
    }
}

#[test]
fn what_a_method_raises_is_told_and_is_a_failure() {
    let (_daemon, registry, _servers) = everything();
    let failed = run(&registry, &["call", "everything", "fail", "ValueError", "no such luck"]);
    assert_eq!(failed, (Some(1), String::new(), "ValueError: no such luck\n".to_owned()));
    let (code, _, error) = run(&registry, &["call", "everything", "nonesuch"]);
    assert_eq!(code, Some(1));
    assert!(error.starts_with("AttributeError: "), "{error}");
    let (code, _, error) = run(&registry, &["call", "nobody", "echo", "1"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("NOBODY") && error.contains(&registry), "{error}");
    let (code, _, error) =
        run(&registry, &["call", "everything", "sleep", "9", "--timeout", "300ms"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("no answer within"), "{error}");
}

#[test]
fn a_server_tells_what_it_offers() {
    let (_daemon, registry, servers) = everything();
    for target in ["everything", &servers[0].address, &servers[1].address] {
        let (code, out, error) = run(&registry, &["inspect", target]);
        assert_eq!(code, Some(0), "{error}");
        let salary = out.lines().find(|line| line.starts_with("get_salary ")).unwrap();
        assert!(salary.ends_with("Monthly salary."), "{salary}");
        assert!(!out.contains("on_connect") && !out.contains("__"), "{out}");
    }
}

#[test]
fn every_server_of_a_name_is_pinged() {
    let (_daemon, registry, mut servers) = everything();
    let (code, out, error) = run(&registry, &["ping", "everything"]);
    assert_eq!(code, Some(0), "{error}");
    for (server, dialect) in servers.iter().zip(["5", "6"]) {
        let row = out.lines().find(|line| line.starts_with(&server.address)).unwrap();
        let row: Vec<_> = row.split_whitespace().collect();
        assert_eq!(row[4], dialect, "{out}");
        assert!(row[5].starts_with("answers"), "{out}");
    }
    let gone = servers.pop().unwrap().address;
    let (code, out, _) = run(&registry, &["ping", "everything", "-o", "json"]);
    assert_eq!(code, Some(1), "one does not answer");
    let pongs: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(out.matches("first_answer_us").count(), 1, "{out}");
    let of = |address: &str| pongs.as_array().unwrap().iter().find(|it| it["address"] == address);
    assert!(of(&gone).unwrap()["error"].is_string(), "{out}");
    assert!(of(&servers[0].address).unwrap()["round_trip_us"].is_u64(), "{out}");
}

#[test]
fn a_drained_service_is_reported_as_draining_and_pinged() {
    let (daemon, registry, servers) = everything();
    let drained = run(&daemon.operators(), &["drain", "everything"]);
    assert_eq!(drained.0, Some(0), "{drained:?}");
    for args in [
        &["lookup", "everything"][..],
        &["lookup", "everything", "-o", "json"],
        &["call", "everything", "echo", "1"],
        &["inspect", "everything"],
    ] {
        let (code, out, error) = run(&registry, args);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{args:?} {error}");
        assert!(error.contains("EVERYTHING") && error.contains("2 instances, draining"), "{error}");
    }
    let (code, out, error) = run(&registry, &["ping", "everything"]);
    assert_eq!(code, Some(0), "{error}");
    for server in &servers {
        assert!(out.contains(&server.address), "{out}");
    }
}

#[test]
fn a_shell_is_the_prompt_of_the_other_machine() {
    use std::io::Write as _;
    use std::process::Stdio;

    for reference in Reference::ALL {
        let server = Python::start(reference, &["--service", "slave"]);
        let mut command = Command::new(daemon::executable());
        command.args(["shell", &server.address]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut keyboard = shell.stdin.take().unwrap();
        keyboard.write_all(b"import rpyc, os\nrpyc.__version__\n1/0\nexit()\n").unwrap();
        let output = shell.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, error) = (text(output.stdout), text(output.stderr));
        assert_eq!(output.status.code(), Some(0), "{error}");
        let version = match reference {
            Reference::Rpyc5 => "'5.3.1'",
            Reference::Rpyc6 => "'6.0.2'",
        };
        assert!(out.contains(">>> ") && out.contains(version), "{out}");
        assert!(error.contains("ZeroDivisionError"), "{error}");
    }
}

/// Runs a command with standard output and error on a terminal, feeds its standard input, and
/// prints what the terminal gets.
const ON_A_TERMINAL: &str = r"
import json, os, pty, subprocess, sys
terminal, there = pty.openpty()
typed, command = sys.argv[1], sys.argv[2:]
child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=there, stderr=there)
os.close(there)
child.stdin.write(typed.encode())
child.stdin.close()
shown = b''
while True:
    try:
        read = os.read(terminal, 65536)
    except OSError:
        break
    if not read:
        break
    shown += read
child.wait()
json.dump([child.returncode, shown.decode()], sys.stdout)
";

#[test]
fn a_server_cannot_control_the_terminal_of_a_shell() {
    for reference in Reference::ALL {
        let server = Python::start(reference, &["--service", "slave"]);
        let shell = daemon::executable().to_str().unwrap();
        let typed = "print('A\\x1b[2JB\\u009b1mC\\rD')\nimport sys\n\
            x = sys.stderr.write('E\\x1b]0;F\\x07')\nexit()\n";
        let shown = rpyc_tests::python::run(
            reference,
            None,
            ON_A_TERMINAL,
            &[typed, shell, "shell", &server.address],
        );
        let (code, shown) = (&shown[0], shown[1].as_str().unwrap());
        assert_eq!(code, 0, "{shown}");
        assert!(shown.contains(r"A\u{1b}[2JB\u{9b}1mC\u{d}D"), "{shown:?}");
        assert!(shown.contains(r"E\u{1b}]0;F\u{7}"), "{shown:?}");
        assert!(!shown.contains(['\x1b', '\u{9b}', '\x07']), "{shown:?}");
    }
}

#[test]
fn a_shell_on_a_service_says_that_it_is_not_classic() {
    let server = Python::start(Reference::Rpyc6, &[]);
    let (code, _, error) = run("127.0.0.1:1", &["shell", &server.address]);
    assert_eq!(code, Some(1));
    assert!(error.contains("is not a classic server"), "{error}");
}
