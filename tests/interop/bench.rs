//! The load generator against RPyC's own registry.

use std::process::Command;

use rpyc_tests::{Control, Registry, Settings, Transport, daemon};
use serde_json::Value;

#[test]
fn rpycs_own_registry_can_be_measured() {
    let registry = Control::start(Settings::default().listing());
    let address = registry.address(Transport::Udp).to_string();
    let mut command = Command::new(daemon::executable());
    command.args(["bench", &address, "--duration", "300ms", "--output", "json"]);
    command.args(["--instances", "100", "--names", "20", "--window", "16"]);
    let output = command.args(["--mix", "query=8,register=1,list=1"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    for kind in ["query", "register", "list"] {
        let requests = &told["requests"][kind];
        assert!(requests["answered"].as_u64() > Some(0), "{told}");
        assert_eq!(requests["sent"], requests["answered"], "{told}");
        assert_eq!(requests["wrong"], 0, "{told}");
    }
    assert_eq!(told["unregistered"]["instances"], 100);
}
