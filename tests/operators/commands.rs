//! The command line finds the socket for operators, and says where it is if it must be named.

use std::path::Path;

use rpyc_client::native::{ChangeKind, Query, Target};
use rpyc_client::{Registrar, RegistryAddr};

use super::*;

/// Runs a command as the user of a daemon with this state directory.
fn by_user(state: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    outcome(command(args).env("STATE_DIRECTORY", state).output().unwrap())
}

#[test]
fn the_commands_of_operators_need_no_switch_on_the_daemons_machine() {
    let daemon = Daemon::start(&[]);
    register(&daemon);
    let run = |args: &[&str]| {
        let (code, shown, error) = by_user(daemon.state(), args);
        assert_eq!(code, Some(0), "{args:?}: {error}");
        shown
    };
    let operators = daemon.operators();
    let drained = run(&["drain", "a", "127.0.0.1"]);
    assert!(drained.contains(&format!(" at {operators}; it gets no new clients")), "{drained}");
    assert!(run(&["list"]).contains("1 draining"));
    assert!(run(&["describe", "a"]).contains("draining"));
    let status = run(&["status"]);
    assert!(status.contains(&format!("registry      {operators}\n")), "{status}");
    assert!(status.contains(&format!("operators     {operators}\n")), "{status}");
    assert!(run(&["undrain", "a"]).contains("undrained 1 instance"));
    assert!(run(&["release"]).contains(&operators));
    assert!(run(&["deregister", "a"]).contains("deregistered 1 instance"));
    assert!(states(&daemon).is_empty());
}

#[test]
fn the_settings_of_the_daemon_lead_to_its_socket() {
    let place = rpyc_tests::Scratch::new();
    let socket = place.path().join("o.sock");
    let socket = socket.to_str().unwrap();
    let daemon = Daemon::start(&["--operator-socket", socket]);
    let file = place.path().join("registry.toml");
    std::fs::write(&file, format!("operator-socket = '{socket}'\n")).unwrap();
    let state = daemon.state().to_str().unwrap();
    let drain = ["drain", "a"];
    for (variable, value) in [
        ("RPYC_REGISTRY_OPERATOR_SOCKET", socket),
        ("RPYC_REGISTRY_CONFIG", file.to_str().unwrap()),
    ] {
        register(&daemon);
        let (code, shown, error) = outcome(command(&drain).env(variable, value).output().unwrap());
        assert_eq!(code, Some(0), "{variable}: {error}");
        assert!(shown.contains(socket), "{shown}");
    }
    let elsewhere = Daemon::start(&[]);
    register(&elsewhere);
    let by_directory = elsewhere.state().to_str().unwrap();
    let mut command_there = command(&drain);
    command_there.env("RPYC_REGISTRY_STATE_DIR", by_directory).env("STATE_DIRECTORY", state);
    let (code, shown, error) = outcome(command_there.output().unwrap());
    assert_eq!(code, Some(0), "{error}");
    assert!(shown.contains(&elsewhere.operators()), "{shown}");
    // A registry that is named is the one that is meant.
    let mut named = command(&drain);
    named.env("STATE_DIRECTORY", by_directory).env("RPYC_REGISTRY", daemon.registry());
    let (code, _, error) = outcome(named.output().unwrap());
    assert!(code == Some(1) && error.contains(&daemon.registry()), "{error}");
    let in_memory = Daemon::start(&["--store", "memory"]);
    register(&in_memory);
    let mut in_session = command(&drain);
    in_session.env("XDG_RUNTIME_DIR", in_memory.state());
    let (code, shown, error) = outcome(in_session.output().unwrap());
    assert_eq!(code, Some(0), "{error}");
    assert!(shown.contains(&in_memory.operators()), "{shown}");
}

#[test]
fn a_refusal_on_the_daemons_machine_names_the_socket() {
    let daemon = Daemon::start(&[]);
    register(&daemon);
    for registry in [daemon.registry(), format!("tcp://{}", daemon.registry())] {
        for verb in [&["drain", "a"][..], &["undrain", "a"], &["deregister", "a"], &["release"]] {
            let args = [verb, &["--registry", &registry]].concat();
            let (code, shown, error) = outcome(command(&args).output().unwrap());
            assert_eq!((code, shown.as_str()), (Some(1), ""), "{args:?}");
            assert!(error.contains(&format!("--registry {}", daemon.operators())), "{error}");
            assert!(error.contains("user that runs the registry"), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
    assert_eq!(states(&daemon), ["passing"]);
    let gone = daemon.operators();
    daemon.terminate();
    let (code, _, error) = outcome(command(&["drain", "a", "--registry", &gone]).output().unwrap());
    assert!(code == Some(1) && error.contains(&gone), "{error}");
}

#[test]
fn a_command_from_a_network_of_operators_proves_its_source() {
    let daemon = Daemon::start(&["--operator-from", "127.0.0.1"]);
    register(&daemon);
    for registry in [daemon.registry(), format!("tcp://{}", daemon.registry())] {
        for verb in ["drain", "undrain"] {
            let args = [verb, "a", "--registry", &registry];
            let (code, shown, error) = outcome(command(&args).output().unwrap());
            assert_eq!(code, Some(0), "{error}");
            assert!(shown.contains("1 instance"), "{shown}");
        }
    }
}

#[tokio::test]
async fn the_library_speaks_to_the_socket() {
    let daemon = Daemon::start(&[]);
    let addr: RegistryAddr = daemon.operators().parse().unwrap();
    assert_eq!(addr.socket_path(), Some(daemon.operator_socket().as_path()));
    // More than one page of answers.
    for port in 1..=400 {
        let meta = json!({"text": "x".repeat(200)});
        let request = json!({"op": "register", "names": ["a"], "port": port, "meta": meta});
        ask(TcpStream::connect(daemon.registry()).unwrap(), request);
    }
    let registrar = Registrar::new(addr.clone().into());
    let native = registrar.native();
    let listed = native.list(Query::default()).await.unwrap();
    assert_eq!((listed.value[0].instances.len(), &listed.registry), (400, &addr));
    let name = rpyc_client::ServiceName::new("a").unwrap();
    assert_eq!(registrar.discover(&name).await.unwrap().len(), 400);
    assert_eq!(registrar.services(None).await.unwrap().services[0].instances.len(), 400);
    let target = Target { name: Some("a".to_owned()), ..Target::default() };
    assert_eq!(native.drain(target.clone()).await.unwrap().value, 400);
    let again = listed.registrar(&registrar);
    assert_eq!(again.registries().iter().collect::<Vec<_>>(), [&addr]);
    let mut watch = again.native().watch(Some("a"), None).await.unwrap();
    let mut count = 0;
    while !matches!(watch.changed().await.unwrap().kind, ChangeKind::Current) {
        count += 1;
    }
    assert_eq!(count, 400);
    native.deregister(target).await.unwrap();
    let change = watch.changed().await.unwrap();
    assert!(matches!(change.kind, ChangeKind::Removed(..)), "{change:?}");
}
