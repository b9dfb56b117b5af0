//! The switches of `rpyc_registry`, so that an init script keeps working.

use std::time::Duration;

use rpyc_tests::{Daemon, PATIENCE, Reference, Registrar, Scratch, Transport, Via, eventually};
use serde_json::json;

/// The names that a daemon with these arguments lists to a program on this machine, or RPyC's refusal.
fn list(arguments: &[&str]) -> Result<serde_json::Value, String> {
    let registry = Daemon::start(arguments);
    let via = Via::Udp(registry.address(Transport::Udp));
    let mut client = Registrar::start(Reference::Rpyc6, via);
    assert!(client.register(&["PAYROLL"], 20_001));
    client.list(None).map_err(|raised| raised.class)
}

#[test]
fn listing_takes_a_value_or_none_and_false_means_false() {
    let names = Ok(json!(["PAYROLL"]));
    let forbidden = Err("ForbiddenError".to_owned());
    for (arguments, expected) in [
        (&[][..], &names),
        (&["--listing"], &names),
        (&["-l"], &names),
        (&["--listing", "true"], &names),
        (&["-l", "True"], &names),
        (&["--listing=false"], &forbidden),
        (&["-l", "false"], &forbidden),
    ] {
        assert_eq!(&list(arguments), expected, "{arguments:?}");
    }
}

#[test]
fn a_mode_is_one_transport() {
    for (arguments, transport) in [
        (["-m", "UDP"], Transport::Udp),
        (["--mode", "UDP"], Transport::Udp),
        (["-m", "TCP"], Transport::Tcp),
    ] {
        let registry = Daemon::start(&arguments);
        let transports: Vec<_> = registry.listeners().iter().map(|it| it.transport).collect();
        assert_eq!(transports, [transport], "{arguments:?}");

        let address = registry.address(transport);
        let via = match transport {
            Transport::Udp => Via::Udp(address),
            Transport::Tcp => Via::Tcp(address),
        };
        let mut client = Registrar::start(Reference::Rpyc6, via);
        assert!(client.register(&["PAYROLL"], 20_001));
        assert_eq!(client.query("payroll"), json!([["127.0.0.1", 20_001]]));
    }
}

#[test]
fn a_timeout_is_in_seconds() {
    let registry = Daemon::start(&["-t", "1"]);
    let mut client = Registrar::start(Reference::Rpyc6, Via::Udp(registry.address(Transport::Udp)));
    assert!(client.register(&["PAYROLL"], 20_001));
    eventually("the server expires", Duration::from_secs(1) + PATIENCE, || {
        (client.query("payroll") == json!([])).then_some(())
    });
}

#[test]
fn the_command_line_of_an_init_script_is_understood() {
    let scratch = Scratch::new();
    let log = scratch.path().join("registry.log");
    let log = log.to_str().unwrap();
    let quiet = ["--ipv6", "--quiet", "true", "--timeout", "240", "--listing", "true"];
    let arguments = [&quiet[..], &["--logfile", log]].concat();
    assert_eq!(list(&arguments), Ok(json!(["PAYROLL"])));
    assert_eq!(list(&["-6", "-q", "-t", "4m", "-l", "--logfile", log]), Ok(json!(["PAYROLL"])));
}

#[test]
fn sigterm_ends_it_cleanly() {
    let registry = Daemon::start(&[]);
    let status = registry.terminate();
    assert!(status.success(), "{status}");
}
