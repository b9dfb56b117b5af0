//! A disk that fills up and has free space again later.

use rpyc_tests::disk::Disk;
use rpyc_tests::eventually;

use super::*;

/// The size of the disk: room for a few thousand registrations.
const DISK_BYTES: u32 = 4 << 20;

fn registration(port: u16) -> Value {
    let text = "x".repeat(250);
    json!({"op": "register", "names": ["a"], "port": port, "meta": {"a": text, "b": text}})
}

#[test]
fn a_full_disk_costs_acknowledgements_and_no_answers_and_no_data() {
    let Some(disk) = Disk::or_notice(DISK_BYTES) else { return };
    let daemon = Daemon::restart(lasting_port(), disk.path(), &[]);
    let port = daemon.port();
    let mut native = Native::connect(port).unwrap();
    let mut acknowledged = Vec::new();
    assert!(native.ask(registration(1)).get("lease").is_some());
    acknowledged.push(1);
    disk.fill();
    let refused = (2..20_000).find_map(|at| {
        let answer = native.ask(registration(at));
        if answer.get("lease").is_some() {
            acknowledged.push(at);
            return None;
        }
        Some(answer)
    });
    let error = refused.expect("the disk is full")["error"].clone();
    assert_eq!(error["code"], "not_durable");
    let message = error["message"].as_str().unwrap();
    let file = disk.path().join("registry.redb");
    for part in [file.to_str().unwrap(), "No space left on device", "make room"] {
        assert!(message.contains(part), "{message}");
    }
    daemon.wait_for_log("No space left on device");
    let status = native.ask(json!({"op": "status"}))["status"].clone();
    assert!(status["store_failure"].as_str().unwrap().contains("No space left"), "{status}");
    assert!(!found(&loopback(), &daemon, "a").is_empty(), "answers go on");

    disk.empty();
    eventually("the store's recovery", PATIENCE, || {
        let status = native.ask(json!({"op": "status"}))["status"].clone();
        let is_well = status.get("store_failure").is_none_or(Value::is_null);
        (is_well && status["uncommitted"] == 0).then_some(())
    });
    daemon.wait_for_log("changes are written again");
    let last = u16::MAX;
    assert!(native.ask(registration(last)).get("lease").is_some());
    acknowledged.push(last);
    daemon.kill();

    let daemon = again(port, disk.path());
    let mut native = Native::connect(daemon.port()).unwrap();
    for at in acknowledged {
        let answer = native.ask(json!({"op": "describe", "name": "a", "port": at}));
        assert!(answer.get("error").is_none_or(Value::is_null), "port {at}: {answer}");
    }
}

#[test]
fn a_disk_that_is_full_at_the_start_is_waited_for() {
    let Some(disk) = Disk::or_notice(DISK_BYTES) else { return };
    disk.fill();
    let mut command = std::process::Command::new(rpyc_tests::daemon::executable());
    command.args(["--port", "0", "--host", "127.0.0.1", "--state-dir"]).arg(disk.path());
    let daemon = rpyc_tests::process::Process::start("rpyc-registry", command);
    daemon.wait_for_error("No space left on device");
    daemon.wait_for_error("make room there");
    assert_eq!(daemon.stdout(), "", "it does not answer yet");
    disk.empty();
    daemon.wait_for("the lines of its listeners", |lines| {
        let listeners = lines.iter().filter(|line| line.contains(" listening on "));
        (listeners.count() == 2).then_some(())
    });
}
