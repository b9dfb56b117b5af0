//! The clients that may list the names.

use rpyc_tests::{Daemon, Host, Lab, Raised, Reference, Registrar, Via};
use serde_json::{Value, json};

use super::{tcp, udp};

with_each_version! {
    names_are_listed_to_this_machine_only,
    names_are_listed_to_everyone_when_told_so,
}

fn list(host: &Host, reference: Reference, via: Via) -> Result<Value, String> {
    let listed = Registrar::start_on(host, reference, via).list(None);
    listed.map_err(|Raised { class, .. }| class)
}

fn names_are_listed_to_this_machine_only(reference: Reference) {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let registry = lab.host("registry", &[&office]);
    let asking = lab.host("client", &[&office]);
    let address = registry.interface().v4;
    let _daemon = Daemon::start_on(&registry, &[]);
    assert!(Registrar::start_on(&asking, reference, udp(address)).register(&["PAYROLL"], 20_001));

    for via in [Via::Default, udp(address), tcp(address)] {
        assert_eq!(list(&asking, reference, via), Err("ForbiddenError".to_owned()), "{via:?}");
        assert_eq!(list(&registry, reference, via), Ok(json!(["PAYROLL"])), "{via:?}");
    }
}

fn names_are_listed_to_everyone_when_told_so(reference: Reference) {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let registry = lab.host("registry", &[&office]);
    let asking = lab.host("client", &[&office]);
    let address = registry.interface().v4;
    let _daemon = Daemon::start_on(&registry, &["--listing"]);
    assert!(Registrar::start_on(&asking, reference, udp(address)).register(&["PAYROLL"], 20_001));

    for via in [Via::Default, udp(address), tcp(address)] {
        assert_eq!(list(&asking, reference, via), Ok(json!(["PAYROLL"])), "{via:?}");
    }
}
