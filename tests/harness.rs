//! Tests of the harness itself, on which the other tests rely.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rpyc_tests::process::{Process, Signal};
use rpyc_tests::raw::Datagrams;
use rpyc_tests::reference::Environment;
use rpyc_tests::signals::{bit, ignored};
use rpyc_tests::{Lab, Listener, PATIENCE, Reference, Scratch, Transport, python};
use serde_json::json;

#[test]
fn a_listener_is_read_from_its_line() {
    let parsed = |line| Listener::parse(line).map(|found| (found.transport, found.address));
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    for (line, expected) in [
        (
            "rpyc-registry listening on udp://[::]:18811",
            Some((Transport::Udp, address("[::]:18811"))),
        ),
        ("tcp://0.0.0.0:4000", Some((Transport::Tcp, address("0.0.0.0:4000")))),
        ("listening on tcp://[::1]:7, ready.", Some((Transport::Tcp, address("[::1]:7")))),
        ("listening on 127.0.0.1:7", None),
        ("listening on udp://localhost", None),
    ] {
        assert_eq!(parsed(line), expected, "{line}");
    }
}

/// Runs this test again in the way that a shell without job control starts a background job.
#[cfg(target_os = "linux")]
#[test]
fn a_child_ignores_no_signal_that_the_test_run_was_started_to_ignore() {
    const SELF: &str = "harness::a_child_ignores_no_signal_that_the_test_run_was_started_to_ignore";
    if std::env::var_os("RPYC_TEST_IGNORING").is_some() {
        let wanted = [Signal::SIGINT, Signal::SIGTERM].map(bit);
        assert_eq!(wanted.map(|bit| ignored("self") & bit), wanted, "the shell set them");
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            let mut child = Process::start("cat", Command::new("cat"));
            child.signal(signal);
            assert_eq!(child.wait().signal(), Some(signal as i32));
        }
        return;
    }
    let mut again = Command::new("sh");
    again.args(["-c", "trap '' INT TERM; exec \"$0\" --exact \"$1\""]);
    again.arg(std::env::current_exe().unwrap()).arg(SELF).env("RPYC_TEST_IGNORING", "1");
    let output = again.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

/// Cargo does not discover test files in a package that declares a single test program.
#[test]
fn each_file_of_tests_is_a_module_of_its_program() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for package in ["protocol", "registry", "server-lib"] {
        let directory = workspace.join(package).join("tests");
        let list = fs::read_to_string(directory.join("main.rs")).unwrap();
        let manifest = fs::read_to_string(workspace.join(package).join("Cargo.toml")).unwrap();
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            if path.extension().is_some_and(|it| it == "rs") && name != "main" {
                let is_listed = list.lines().any(|line| line == format!("mod {name};"));
                let is_alone = manifest.contains(&format!("path = \"tests/{name}.rs\""));
                assert!(is_listed || is_alone, "{package}/tests/main.rs lacks `mod {name};`");
            }
        }
    }
}

#[test]
fn each_reference_is_the_version_it_says() {
    for (reference, version) in [(Reference::Rpyc5, "5.3.1"), (Reference::Rpyc6, "6.0.2")] {
        let code = "import json, rpyc; print(json.dumps(rpyc.__version__))";
        assert_eq!(python::run(reference, None, code, &[]), json!(version));
    }
}

#[test]
fn a_half_made_environment_is_made_again_and_only_once() {
    let scratch = Scratch::new();
    let requirements = scratch.path().join("requirements.txt");
    // Every environment contains pip already, so this needs no network.
    fs::write(&requirements, "pip").unwrap();
    let environment = || Environment::new("half-made", &requirements, scratch.path());
    let debris = environment().directory().join("bin/python");
    fs::create_dir_all(&debris).unwrap();

    let made = thread::scope(|scope| {
        let make = || {
            let python = environment().installed().unwrap();
            let settings = environment().directory().join("pyvenv.cfg");
            (python, fs::metadata(settings).unwrap().modified().unwrap())
        };
        [scope.spawn(make), scope.spawn(make)].map(|one| one.join().unwrap())
    });

    let [first, second] = made;
    assert_eq!(first, second, "the second waits for the first and uses what it made");
    assert!(Command::new(first.0).args(["-c", "pass"]).status().unwrap().success());
}

#[test]
fn hosts_of_a_lab_hear_each_other_and_nobody_else() {
    let Some(lab) = Lab::or_notice() else { return };
    let (here, there) = (lab.segment(), lab.segment());
    let speaker = lab.host("speaker", &[&here]);
    let neighbour = lab.host("neighbour", &[&here]);
    let stranger = lab.host("stranger", &[&there]);
    let port = 18811;
    let listen = |host| Datagrams::bind_on(host, (Ipv4Addr::UNSPECIFIED, port).into());
    let (neighbour, stranger) = (listen(&neighbour), listen(&stranger));

    let source = speaker.interface().v4;
    let socket = Datagrams::bind_on(&speaker, (source, 0).into());
    socket.send(b"anyone?", (Ipv4Addr::BROADCAST, port).into());

    let heard = neighbour.receive(PATIENCE);
    assert_eq!(heard, Some((b"anyone?".to_vec(), socket.local_address())));
    assert_eq!(stranger.receive(Duration::from_millis(100)), None);
}

#[test]
fn a_dropped_lab_leaves_nothing_behind() {
    let Some(lab) = Lab::or_notice() else { return };
    let host = lab.host("short-lived", &[&lab.segment()]);
    let name = host.enter(namespace_of_thread);
    assert!(namespaces().contains(&name));
    drop(lab);
    assert!(!namespaces().contains(&name));
}

#[test]
fn a_lab_removes_what_a_killed_run_left() {
    if Lab::or_notice().is_none() {
        return;
    }
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let leftover = format!("rpyc-test-{}-0-host", gone.id());
    assert!(Command::new("ip").args(["netns", "add", &leftover]).status().unwrap().success());

    Lab::new().unwrap();
    assert!(!namespaces().contains(&leftover));
}

fn namespaces() -> Vec<String> {
    let output = Command::new("ip").args(["netns", "list"]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn namespace_of_thread() -> String {
    let output = Command::new("ip").args(["netns", "identify"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
