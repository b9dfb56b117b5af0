//! What an operator sees of Python programs, and the commands that affect them.

use std::process::Command;

use rpyc_tests::{Control, Daemon, Registry, Settings, Transport, daemon};
use serde_json::{Value, json};

use super::Case;

scenarios! { ours:
    an_operator_sees_a_python_server_and_sends_nobody_to_it,
}

/// Runs the command line and returns its exit code, standard output and standard error.
fn run(registry: &impl Registry, args: &[&str]) -> (Option<i32>, String, String) {
    run_at(&registry.address(Transport::Udp).to_string(), args)
}

fn run_at(registry: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(daemon::executable());
    let output = command.args(args).args(["--registry", registry]).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn an_operator_sees_a_python_server_and_sends_nobody_to_it(case: Case) {
    let registry = Daemon::start(&[]);
    let server = case.server(&registry, &["PAYROLL"]);
    let mut client = case.client(&registry);
    let place = format!("127.0.0.1:{}", server.port());

    let (code, shown, _) = run(&registry, &["describe", "payroll", "-o", "json"]);
    assert_eq!(code, Some(0));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let instance = &shown["services"][0]["instances"][0];
    assert_eq!((&instance["state"], &instance["legacy"]), (&json!("passing"), &json!(true)));
    assert_eq!(instance["ttl_ms"], 240_000);

    let operators = registry.operators();
    assert_eq!(run_at(&operators, &["drain", "payroll", &place]).0, Some(0));
    assert_eq!(client.query("payroll"), json!([]));
    let (_, list, _) = run(&registry, &["list", "--wide"]);
    assert!(list.contains(&place) && list.contains("draining"), "{list}");
    assert_eq!(run_at(&operators, &["undrain", "payroll"]).0, Some(0));
    assert_eq!(client.query("payroll"), json!([["127.0.0.1", server.port()]]));
}

#[test]
fn rpycs_own_registry_is_asked_what_it_knows_and_the_rest_is_said() {
    let registry = Control::start(Settings::default().listing());
    let register = ["register", "payroll", "--port", "18861", "--once"];
    let (code, said, warning) = run(&registry, &[&register[..], &["--tag", "gpu"]].concat());
    assert_eq!(code, Some(0), "{warning}");
    assert!(said.contains("registered PAYROLL"), "{said}");
    assert!(warning.contains("WARNING: ") && warning.contains("but not --tag"), "{warning}");
    let (code, _, error) = run(&registry, &[&register[..], &["--exclusive"]].concat());
    assert!(code == Some(1) && error.contains("--exclusive"), "{error}");

    let (_, list, _) = run(&registry, &["list", "PAY*"]);
    assert!(list.contains("PAYROLL"), "{list}");
    let (code, _, error) = run(&registry, &["list", "--tag", "gpu"]);
    assert!(code == Some(1) && error.contains("RPyC's own registry"), "{error}");
    let (code, shown, hint) = run(&registry, &["describe", "payroll"]);
    assert_eq!(code, Some(0), "{hint}");
    assert!(shown.contains("127.0.0.1:18861") && hint.contains("RPyC's own"), "{shown}{hint}");
    for verb in [&["drain", "payroll"][..], &["status"], &["watch"]] {
        let (code, _, error) = run(&registry, verb);
        assert!(code == Some(1) && error.contains("RPyC's own"), "{verb:?}: {error}");
    }
}
