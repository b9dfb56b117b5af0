//! RPyC's own test of its registry, `tests/test_registry.py`, in a loop and without its waits.
//!
//! `docs/rpyc-tests.md` lists where the other tests of RPyC are.

use std::time::Duration;

use rpyc_tests::{Daemon, Host, Lab, Reference, Registry, Settings, Transport, python};
use serde_json::{Value, json};

use super::Case;

scenarios! { shared:
    rpycs_own_test_of_the_registry_passes_fifty_times,
}

/// The number of consecutive rounds that upstream's test must pass.
const ROUNDS: &str = "50";

/// The time in seconds after which a registration expires.
const PRUNING: u64 = 5;

fn rpycs_own_test_of_the_registry_passes_fifty_times<R: Registry>(case: Case) {
    let settings = Settings::default().listing().timeout(Duration::from_secs(PRUNING));
    let registry = R::start(settings);
    let address = registry.address(case.transport);
    let kind = match case.transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
    };
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let failed = run(case.reference, None, &[kind, &host, &port]);
    assert_eq!(failed, json!({"test_api": [], "test_listing": [], "test_pruning": []}));
}

fn run(reference: Reference, host: Option<&Host>, place: &[&str]) -> Value {
    let script = include_str!("../python/registry_suite.py");
    let pruning = PRUNING.to_string();
    python::run(reference, host, script, &[place, &[ROUNDS, &pruning]].concat())
}

with_each_version! {
    by_broadcast_as_rpyc_tests_it,
}

/// Upstream's UDP client has no address: it broadcasts and reaches the registry on its own machine.
fn by_broadcast_as_rpyc_tests_it(reference: Reference) {
    let Some(lab) = Lab::or_notice() else { return };
    let host = lab.host("alone", &[&lab.segment()]);
    let timeout = PRUNING.to_string();
    let _daemon = Daemon::start_on(&host, &["--listing", "--timeout", &timeout]);
    let failed = run(reference, Some(&host), &["default", "-", "0"]);
    assert_eq!(failed, json!({"test_api": [], "test_pruning": []}));
}
