//! The Rust client, announcer and command line without configuration.

use std::process::Command;

use rpyc_tests::{
    Daemon, Host, Lab, PATIENCE, Reference, Registrar, Server, Via, daemon, eventually,
};
use serde_json::json;

/// Runs the command line on `host`.
fn run(host: &Host, args: &[&str]) -> (Option<i32>, String) {
    let mut command: Command = host.command(daemon::executable());
    let output = command.args(args).env_remove("RPYC_REGISTRY").output().unwrap();
    let both = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(both).unwrap())
}

#[test]
fn the_command_line_finds_a_registry_on_the_link() {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let (registry, asking) = (lab.host("registry", &[&office]), lab.host("client", &[&office]));
    let serving = lab.host("server", &[&office]);
    let (code, said) = run(&asking, &["lookup", "payroll", "--timeout", "300ms"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("255.255.255.255"), "it names what it asked: {said}");

    let _daemon = Daemon::start_on(&registry, &["--listing"]);
    let server = Server::named(&["PAYROLL"]).on(&serving).start_registered(Reference::Rpyc6);
    let found = format!("{}:{}\n", serving.interface().v4, server.port());
    assert_eq!(run(&asking, &["lookup", "payroll"]), (Some(0), found));
    assert_eq!(run(&asking, &["list", "-o", "name"]).0, Some(0));
}

#[test]
fn what_the_command_line_announces_is_found_by_rpyc() {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let registry = lab.host("registry", &[&office]);
    let (serving, asking) = (lab.host("server", &[&office]), lab.host("client", &[&office]));
    let _daemon = Daemon::start_on(&registry, &[]);
    let mut client = Registrar::start_on(&asking, Reference::Rpyc6, Via::Default);

    let mut announcing = serving.command(daemon::executable());
    announcing.args(["register", "payroll", "--port", "18861"]).env_remove("RPYC_REGISTRY");
    let mut announcing = announcing.stderr(std::process::Stdio::null()).spawn().unwrap();
    let found = json!([[serving.interface().v4.to_string(), 18861]]);
    eventually("found", PATIENCE, || (client.query("payroll") == found).then_some(()));
    let terminated =
        Command::new("kill").args(["-TERM", &announcing.id().to_string()]).status().unwrap();
    assert!(terminated.success());
    assert!(announcing.wait().unwrap().success());
    assert_eq!(client.query("payroll"), json!([]), "unregistered from the address it used");
}

#[test]
fn an_ipv6_registry_is_found_by_multicast() {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let (registry, other) = (lab.host("registry", &[&office]), lab.host("other", &[&office]));
    let v6 = registry.interface().v6.to_string();
    let _daemon = Daemon::start_on(&registry, &["--host", &v6, "--listing"]);
    let bind = other.interface().v6.to_string();
    let (code, said) =
        run(&other, &["register", "payroll", "--port", "18861", "--once", "--bind", &bind]);
    assert_eq!(code, Some(0), "{said}");
    let found = format!("[{bind}]:18861\n");
    assert_eq!(run(&other, &["lookup", "payroll"]), (Some(0), found));
}
