//! The real binary, as users and scripts run it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod bench;
mod config;
mod daemon;
mod logging;
mod operator;
mod register;
mod watch;

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Stdio};

#[cfg(target_os = "linux")]
use daemon::on_a_terminal;
use daemon::{Daemon, PATIENCE, check, command, run, wait_until};
use rpyc_tests::process::Signal;

#[test]
fn each_listener_is_told_with_its_real_address() {
    let daemon = Daemon::start(&["--host", "127.0.0.1"]);
    let port = daemon.port();
    assert_ne!(port, 0);
    assert_eq!(
        daemon.urls(),
        [format!("udp://127.0.0.1:{port}"), format!("tcp://127.0.0.1:{port}")]
    );
    let daemon = Daemon::with_listeners(&["serve", "-m", "tcp", "--host", "127.0.0.1"], 1);
    assert!(daemon.urls()[0].starts_with("tcp://127.0.0.1:"));
    let hosts = ["--host", "127.0.0.1", "-mUDP", "--host", "127.0.0.2"];
    let daemon = Daemon::with_listeners(&hosts, 2);
    assert!(daemon.urls()[1].starts_with("udp://127.0.0.2:"), "{:?}", daemon.urls());
}

#[test]
fn an_address_in_use_is_one_sentence_with_a_hint() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (_, error) = check(&["--host", "127.0.0.1", "-m", "TCP", "-p", &port, "-q"], 1);
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains(&format!("tcp://127.0.0.1:{port}")), "{error}");
    assert!(error.contains("in use") && error.contains("--port"), "{error}");
    assert_eq!(error.matches("os error").count(), 1, "one cause, told once: {error}");
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (_, error) = check(&["--host", "127.0.0.1", "-p", &port, "-q"], 1);
    assert!(error.contains(&format!("udp://127.0.0.1:{port}")), "{error}");
    let (_, error) = check(&["--host", "192.0.2.1", "-p", "0", "-q"], 1);
    assert!(error.contains("does not have that address"), "{error}");
    let (_, error) = check(&["-p", "0", "--logfile", "/nonexistent/log"], 1);
    assert!(error.contains("/nonexistent/log") && error.contains("--logfile"), "{error}");
    let (_, error) = check(&["-p", "0", "--state-dir", "/dev/null/state"], 1);
    assert_eq!(error.matches("os error").count(), 1, "one cause, told once: {error}");
}

#[test]
fn a_second_daemon_on_the_same_port_is_refused() {
    // The sockets of one daemon share its address; those of another daemon never do.
    for sockets in ["1", "4"] {
        let first = Daemon::start(&["--udp-sockets", sockets]);
        let port = first.port().to_string();
        for sockets in ["1", "4"] {
            for args in [&["-q"][..], &["-q", "-m", "UDP"], &["-q", "--host", "127.0.0.1"]] {
                let args = [&["-p", &port, "--udp-sockets", sockets], args].concat();
                let (_, error) = check(&args, 1);
                assert!(error.contains("in use"), "{args:?}: {error}");
            }
        }
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for args in [
        &["--nonsense"][..],
        &["-m", "SCTP"],
        &["-p", "65536"],
        &["-t", "0"],
        &["-t", "soon"],
        &["--listing", "maybe"],
        &["--host", "localhost!"],
        &["lookup"],
        &["register", "X"],
        &["register", "X", "--port", "0"],
        &["register", "--port", "1"],
        &["register", "X", "--port", "1", "--once", "--", "true"],
        &["list", "--registry", "http://x"],
        &["-p", "1", "list"],
        &["--registry", "x", "serve"],
        &["completions", "tcsh"],
        &["describe"],
        &["describe", "A", "nowhere"],
        &["drain", "A", "--instance", "1"],
        &["drain", "--instance", "1", "10.0.0.1:1"],
        &["deregister"],
        &["list", "--state", "dead"],
        &["list", "--meta", "x"],
        &["nonsense"],
    ] {
        let (_, error) = check(args, 2);
        assert!(error.starts_with("error: "), "{args:?}: {error}");
    }
    let output = command(&["list"]).env("RPYC_REGISTRY", "a,,b").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn switches_of_an_init_script_for_rpycs_registry_work() {
    for args in [
        &["-m", "UDP", "-t", "240", "-q", "1", "--listing", "True"][..],
        &["--mode=udp", "--timeout", "4m", "--quiet", "--listing=yes"],
        &["-l", "-q", "--mode", "UDP"],
        &["-q", "-l", "serve", "-m", "UDP"],
    ] {
        // Each of them is quiet, so that nothing prints the port.
        let port = rpyc_tests::lasting_port().to_string();
        let state = tempfile::TempDir::new().unwrap();
        let mut daemon = command(&[args, &["--port", &port]].concat());
        daemon.env("STATE_DIRECTORY", state.path());
        let daemon = rpyc_tests::process::Process::start("rpyc-registry", daemon);
        let list = |transport: &str| {
            let registry = format!("{transport}://127.0.0.1:{port}");
            run(&["list", "--timeout", "500ms", "--registry", &registry]).status.success()
        };
        wait_until("serving", || list("udp"));
        assert!(!list("tcp"));
        assert_eq!((daemon.stdout(), daemon.stderr()), (String::new(), String::new()));
    }
}

#[test]
fn listing_is_allowed_from_this_machine_by_default() {
    for (args, is_allowed) in [
        (&[][..], true),
        (&["--listing"], true),
        (&["--listing", "true"], true),
        (&["--listing", "false"], false),
        (&["-l", "0"], false),
    ] {
        let daemon = Daemon::start(args);
        let registry = daemon.registry();
        if is_allowed {
            check(&["list", "--registry", &registry], 0);
        } else {
            let (_, error) = check(&["list", "--registry", &registry], 1);
            assert!(error.contains("forbids listing") && error.contains(&registry), "{error}");
            check(&["register", "A", "--port", "1", "--once", "--registry", &registry], 0);
            check(&["lookup", "A", "--registry", &registry], 0);
        }
    }
}

#[test]
fn what_is_registered_is_listed_and_found_and_unregistered() {
    let daemon = Daemon::start(&["-t", "1h"]);
    for scheme in ["", "udp://", "tcp://"] {
        let registry = format!("{scheme}{}", daemon.registry());
        let ask = |args: &[&str]| check(&[&["--registry", &registry], args].concat(), 0).0;
        let (out, hint) = check(&["list", "--registry", &registry], 0);
        assert_eq!(out, "");
        assert!(hint.contains("no service is registered"), "{hint}");
        let said = ask(&["register", "payroll", "straße", "--port", "18861", "--once"]);
        assert!(said.contains("PAYROLL, STRASSE") && said.contains("127.0.0.1"), "{said}");
        ask(&["register", "payroll", "--port", "/run/payroll.sock", "--once"]);
        let list = ask(&["list"]);
        let rows: Vec<Vec<_>> = list.lines().map(|row| row.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["NAME", "INSTANCES", "STATES"]);
        assert_eq!(rows[1], ["PAYROLL", "2", "2", "passing"]);
        assert_eq!(rows[2], ["STRASSE", "1", "1", "passing"]);
        assert_eq!(ask(&["list", "-o", "name"]), "PAYROLL\nSTRASSE\n");
        assert_eq!(ask(&["list", "--host", "127.0.0.1", "-o", "name"]), "PAYROLL\nSTRASSE\n");
        assert_eq!(ask(&["list", "--host", "10.0.0.1", "-o", "name"]), "");
        let wide = ask(&["list", "--wide"]);
        let rows: Vec<Vec<_>> = wide.lines().map(|row| row.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["NAME", "ID", "ADDRESS", "STATE", "AGE", "RENEWED", "LEFT"]);
        let place = |row: usize| [0, 2, 3].map(|cell| rows[row][cell]);
        assert_eq!(place(1), ["PAYROLL", "127.0.0.1:18861", "passing"]);
        assert_eq!(place(2), ["PAYROLL", "127.0.0.1:/run/payroll.sock", "passing"]);
        assert_eq!(place(3), ["STRASSE", "127.0.0.1:18861", "passing"]);
        assert_eq!(rows[1][1], rows[3][1], "one instance under two names");
        let document: serde_json::Value =
            serde_json::from_str(&ask(&["list", "-o", "json"])).unwrap();
        let first = &document["services"][0]["instances"][0];
        assert_eq!(first["port"], 18861);
        assert!(first["left_ms"].as_u64().unwrap() > 3_500_000, "{document}");
        let found = ask(&["lookup", "Payroll"]);
        let mut found: Vec<_> = found.lines().collect();
        found.sort_unstable();
        assert_eq!(found, ["127.0.0.1:/run/payroll.sock", "127.0.0.1:18861"]);
        let document: serde_json::Value =
            serde_json::from_str(&ask(&["lookup", "payroll", "-o", "json"])).unwrap();
        assert_eq!(document["instances"].as_array().unwrap().len(), 2);
        for port in ["18861", "/run/payroll.sock"] {
            ask(&["unregister", "--port", port]);
        }
    }
}

#[test]
fn errors_name_the_registry_and_what_to_try() {
    let daemon = Daemon::start(&[]);
    let registry = daemon.registry();
    let (_, error) = check(&["lookup", "NoSuch", "--registry", &registry], 1);
    assert!(error.contains("NOSUCH") && error.contains(&registry), "{error}");
    // A port that was just free, so that no program listens there.
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for scheme in ["udp", "tcp"] {
        let nobody = format!("{scheme}://{free}");
        for verb in [&["list"][..], &["lookup", "X"], &["register", "X", "--port", "1", "--once"]] {
            let (_, error) = check(&[&["--registry", &nobody], verb].concat(), 1);
            assert!(error.contains(&nobody), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    let (_, error) = check(&["list", "--timeout", "300ms", "--registry", &silent], 1);
    assert!(error.contains(&silent) && error.contains("within"), "{error}");
}

#[test]
fn a_dead_registry_beside_a_live_one_does_not_matter() {
    let daemon = Daemon::start(&[]);
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let both = format!("{free},{}", daemon.registry());
    let output = command(&["list"]).env("RPYC_REGISTRY", &both).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_registration_lasts_as_long_as_its_command_and_ends_with_its_code() {
    let daemon = Daemon::start(&[]);
    let registry = daemon.registry();
    let found = || run(&["lookup", "WEB", "--registry", &registry]).status.success();
    let args = ["--registry", &registry, "register", "web", "--port", "8080", "--"];
    // The command ends when its input does.
    let mut running = command(&[&args[..], &["sh", "-c", "read line; exit 7"]].concat())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = String::new();
    BufReader::new(running.stderr.take().unwrap()).read_line(&mut told).unwrap();
    assert!(told.contains("registered WEB"), "{told}");
    assert!(found());
    drop(running.stdin.take());
    assert_eq!(running.wait().unwrap().code(), Some(7));
    assert!(!found(), "unregistered before it ends");

    let mut running =
        command(&[&args[..], &["sleep", "1000"]].concat()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("registered", found);
    let pid = running.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(running.wait().unwrap().code(), Some(128 + 15), "as the command ended");
    assert!(!found());

    let (_, error) = check(&[&args[..], &["/nonexistent/program"]].concat(), 1);
    assert!(error.contains("/nonexistent/program"), "{error}");
}

#[test]
fn a_registration_without_a_command_lasts_until_a_signal() {
    let daemon = Daemon::start(&[]);
    let registry = daemon.registry();
    let found = || run(&["lookup", "WEB", "--registry", &registry]).status.success();
    let args = ["register", "web", "--port", "8080", "--registry", &registry];
    for signal in ["-TERM", "-INT"] {
        let mut running = command(&args).stderr(Stdio::null()).spawn().unwrap();
        wait_until("registered", found);
        let pid = running.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        assert_eq!(running.wait().unwrap().code(), Some(0));
        assert!(!found());
    }
}

#[test]
fn signals_end_the_daemon_cleanly() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let daemon = Daemon::start(&[]);
        let mut silent = std::net::TcpStream::connect(daemon.registry()).unwrap();
        assert_eq!(daemon.end(signal).code(), Some(0), "{signal}");
        silent.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(matches!(silent.read(&mut [0; 9]), Ok(0) | Err(_)), "its connections are closed");
    }
}

#[test]
fn the_log_has_a_line_for_each_change_in_text_or_json() {
    let directory = std::env::temp_dir().join(format!("rpyc-registry-log-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    for format in ["text", "json"] {
        let log = directory.join(format);
        let daemon = Daemon::start(&["--log-format", format, "--logfile", log.to_str().unwrap()]);
        let registry = daemon.registry();
        let name = "evil\n\u{1b}[31mname";
        check(&["register", name, "--port", "1", "--once", "--registry", &registry], 0);
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"nonsense", &registry).unwrap();
        let text = || std::fs::read_to_string(&log).unwrap();
        wait_until("logged", || text().contains("registered") && text().contains("malformed"));
        assert!(!text().contains("\u{1b}"), "escapes of a name reached the log raw");
        for line in text().lines() {
            assert!(line.starts_with(if format == "json" { "{" } else { "20" }), "{line}");
            if format == "json" {
                serde_json::from_str::<serde_json::Value>(line).unwrap();
            }
        }
        drop(daemon);
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn colours_are_for_terminals_and_never_with_no_color() {
    let args = ["-p", "0", "--host", "127.0.0.1"];
    let serving = on_a_terminal(&args, "", "on tcp://");
    assert!(serving.contains("listening") && serving.contains('\u{1b}'), "{serving:?}");
    let serving = on_a_terminal(&args, "1", "on tcp://");
    assert!(serving.contains("listening") && !serving.contains('\u{1b}'), "{serving:?}");
    let daemon = Daemon::start(&[]);
    let registry = daemon.registry();
    check(&["register", "A", "--port", "1", "--once", "--registry", &registry], 0);
    let args = ["list", "--registry", &registry];
    let listed = on_a_terminal(&args, "", "");
    assert!(listed.contains("NAME") && listed.contains('\u{1b}'), "{listed:?}");
    assert_eq!(
        on_a_terminal(&args, "1", ""),
        "NAME  INSTANCES  STATES\r\nA     1          1 passing\r\n"
    );
}

#[test]
fn answers_are_plain_where_nobody_watches() {
    let daemon = Daemon::start(&[]);
    let registry = daemon.registry();
    let name = "\u{1b}[31mred";
    check(&["register", name, "--port", "1", "--once", "--registry", &registry], 0);
    let (out, _) = check(&["list", "--wide", "--registry", &registry], 0);
    assert!(!out.contains('\u{1b}'), "{out:?}");
    assert!(out.contains("[31MRED"), "{out:?}");
}

#[test]
fn every_verb_helps_with_examples_and_completes() {
    for verb in [
        "",
        "serve",
        "check-config",
        "list",
        "describe",
        "watch",
        "lookup",
        "register",
        "unregister",
        "call",
        "inspect",
        "ping",
        "shell",
        "drain",
        "undrain",
        "deregister",
        "release",
        "status",
        "completions",
    ] {
        let args: Vec<_> = [verb, "--help"].into_iter().filter(|arg| !arg.is_empty()).collect();
        let (out, _) = check(&args, 0);
        assert!(out.contains("Examples:"), "{verb}: {out}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let (out, _) = check(&["completions", shell], 0);
        assert!(out.contains("lookup") && out.contains("registry"), "{shell}");
    }
    let (out, _) = check(&["--version"], 0);
    assert_eq!(out.trim(), concat!("rpyc-registry ", env!("CARGO_PKG_VERSION")));
}
