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

/// The exit code of `rpyc-registry status`, for the registry on this port.
fn exit_code_of_status(port: u16) -> Option<i32> {
    let mut command = std::process::Command::new(rpyc_tests::daemon::executable());
    command.args(["status", "--registry", &format!("tcp://127.0.0.1:{port}")]);
    command.output().unwrap().status.code()
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
    assert_eq!(exit_code_of_status(port), Some(1), "the store fails");
    assert!(!found(&loopback(), &daemon, "a").is_empty(), "answers go on");

    disk.empty();
    eventually("the store's recovery", PATIENCE, || {
        let status = native.ask(json!({"op": "status"}))["status"].clone();
        let is_well = status.get("store_failure").is_none_or(Value::is_null);
        (is_well && status["uncommitted"] == 0).then_some(())
    });
    assert_eq!(exit_code_of_status(port), Some(0), "the store has recovered");
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
fn a_registry_whose_disk_is_full_at_its_start_answers_and_stores_later() {
    for instances in [0, 1, 3] {
        let Some(disk) = Disk::or_notice(DISK_BYTES) else { return };
        let port = lasting_port();
        if instances > 0 {
            let daemon = again(port, disk.path());
            let mut native = Native::connect(port).unwrap();
            for at in 1..=instances {
                assert!(native.ask(registration(at)).get("lease").is_some());
            }
            daemon.kill();
        }
        disk.fill();
        let daemon = again(port, disk.path());
        let kept: Vec<_> = (1..=instances).collect();
        assert_eq!(found(&loopback(), &daemon, "a"), kept, "it answers");
        let mut native = Native::connect(port).unwrap();
        let first = native.ask(registration(9));
        if instances == 0 {
            // There is no room for the smallest file.
            daemon.wait_for_log("make room there");
            assert_eq!(first["error"]["code"], "not_durable", "{first}");
            let status = native.ask(json!({"op": "status"}))["status"].clone();
            let failure = status["store_failure"].as_str().unwrap();
            assert!(failure.contains("No space left on device"), "{failure}");
        }
        assert_eq!(found(&loopback(), &daemon, "a").len(), kept.len() + 1, "visible at once");

        disk.empty();
        let second = eventually("a registration that is stored", PATIENCE, || {
            let answer = native.ask(registration(10));
            answer.get("lease").cloned()
        });
        let id = second["instance"].as_u64().unwrap();
        daemon.kill();
        let daemon = again(port, disk.path());
        let expected: Vec<_> = (1..=instances).chain([9, 10]).collect();
        assert_eq!(found(&loopback(), &daemon, "a"), expected);
        let mut native = Native::connect(port).unwrap();
        let next = native.ask(registration(11))["lease"]["instance"].as_u64().unwrap();
        assert!(next > id, "numbers are not used again");
    }
}
