//! State files that are damaged, or deleted while the registry runs.

use std::fs;
use std::path::PathBuf;

use rpyc_tests::{eventually, notice::notice};

use super::*;

const FILES: [&str; 2] = ["registry.redb", "registry.mirror"];

/// The log's words for a loss.
const LOSS: &str = "REGISTRATIONS MAY BE LOST";

/// Registers that many ports of a name over one connection, and returns when all are acknowledged.
fn register_all(port: u16, ports: std::ops::RangeInclusive<u16>) {
    let mut native = Native::connect(port).unwrap();
    for at in ports {
        let answer = native.ask(json!({"op": "register", "names": ["a"], "port": at}));
        assert!(answer.get("lease").is_some(), "{answer}");
    }
}

#[test]
fn a_truncated_file_is_told_loudly_kept_and_restored_from_its_second_copy() {
    let state = Scratch::new();
    let daemon = first(&state);
    let port = daemon.port();
    register_all(port, 1..=5);
    daemon.kill();
    let cut = |name: &str| {
        let path = state.path().join(name);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        bytes.len() / 2
    };
    let len = cut(FILES[0]);
    let daemon = again(port, state.path());
    daemon.wait_for_log("DAMAGED");
    daemon.wait_for_log("nothing is lost");
    let aside = state.path().join("registry.redb.damaged-1");
    daemon.wait_for_log(aside.to_str().unwrap());
    assert_eq!(fs::metadata(&aside).unwrap().len(), u64::try_from(len).unwrap());
    assert_eq!(found(&loopback(), &daemon, "a"), [1, 2, 3, 4, 5]);
    register_all(port, 6..=6);
    assert!(daemon.terminate().success());
    // With both cut, what the second copy still has is restored, and the log reports the loss.
    for name in FILES {
        cut(name);
    }
    let daemon = again(port, state.path());
    daemon.wait_for_log("DAMAGED");
    daemon.wait_for_log(LOSS);
    let left = found(&loopback(), &daemon, "a");
    assert!(!left.is_empty() && left.len() < 6, "{left:?}");
    register_all(port, 1..=6);
    daemon.kill();
    let daemon = again(port, state.path());
    assert_eq!(found(&loopback(), &daemon, "a"), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn flipped_bits_lose_nothing_in_silence() {
    let seed = std::process::id();
    notice(&format!("tests: flipped bits of seed {seed}"));
    let mut random = u64::from(seed) | 1;
    let mut below = move |limit: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(random >> 33).unwrap() % limit
    };
    let state = Scratch::new();
    let daemon = first(&state);
    let port = daemon.port();
    register_all(port, 1..=60);
    daemon.kill();
    let intact = FILES.map(|name| fs::read(state.path().join(name)).unwrap());
    for round in 0..40 {
        let copy = Scratch::new();
        // One file, or both.
        let damaged = [[true, false], [false, true], [true, true]][round % 3];
        for ((name, bytes), is_damaged) in FILES.iter().zip(&intact).zip(damaged) {
            let mut bytes = bytes.clone();
            for _ in 0..if is_damaged { 4 } else { 0 } {
                let at = below(bytes.len());
                bytes[at] ^= 1 << below(8);
            }
            fs::write(copy.path().join(name), bytes).unwrap();
        }
        let daemon = again(port, copy.path());
        let there = found(&loopback(), &daemon, "a").len();
        let is_said = daemon.log().contains(LOSS);
        assert!(there == 60 || is_said, "round {round}: {there}, {}", daemon.log());
        // The last changes may be in the second copy only.
        assert!(there == 60 || damaged[1], "round {round}: the second copy is whole");
        assert!(there >= 56, "round {round}: one bit costs one registration, not {}", 60 - there);
        daemon.kill();
    }
}

#[test]
fn deleted_files_are_written_again_while_the_registry_runs() {
    let state = Scratch::new();
    let directory = state.path().join("state");
    let port = lasting_port();
    let mut last = 0;
    for lost in [vec![0], vec![1], vec![0, 1], vec![]] {
        let daemon = again(port, &directory);
        register_all(port, last + 1..=last + 5);
        let paths: Vec<PathBuf> = lost.iter().map(|at| directory.join(FILES[*at])).collect();
        paths.iter().for_each(|path| fs::remove_file(path).unwrap());
        if paths.is_empty() {
            fs::remove_dir_all(&directory).unwrap();
        }
        register_all(port, last + 6..=last + 6);
        last += 6;
        daemon.wait_for_log("deleted");
        daemon.kill();
        let daemon = again(port, &directory);
        assert_eq!(found(&loopback(), &daemon, "a"), (1..=last).collect::<Vec<_>>(), "{lost:?}");
        daemon.kill();
    }
}

#[test]
fn a_directory_that_cannot_be_made_again_ends_acknowledgements() {
    let state = Scratch::new();
    let directory = state.path().join("state");
    let daemon = again(lasting_port(), &directory);
    register_all(daemon.port(), 1..=5);
    fs::remove_dir_all(&directory).unwrap();
    fs::write(&directory, "in the way").unwrap();
    let mut native = Native::connect(daemon.port()).unwrap();
    let failure = |native: &mut Native| {
        let status = native.ask(json!({"op": "status"}))["status"].clone();
        status["store_failure"].as_str().map(str::to_owned)
    };
    // Also without a change.
    let told = eventually("the failure", PATIENCE, || failure(&mut native));
    assert!(told.contains(directory.to_str().unwrap()), "{told}");
    let refused = native.ask(json!({"op": "register", "names": ["a"], "port": 6}));
    assert_eq!(refused["error"]["code"], "not_durable", "{refused}");
    assert_eq!(found(&loopback(), &daemon, "a"), [1, 2, 3, 4, 5, 6], "answers go on");
    fs::remove_file(&directory).unwrap();
    eventually("the recovery", PATIENCE, || failure(&mut native).is_none().then_some(()));
    register_all(daemon.port(), 7..=7);
    let port = daemon.port();
    daemon.kill();
    let daemon = again(port, &directory);
    assert_eq!(found(&loopback(), &daemon, "a"), [1, 2, 3, 4, 5, 6, 7]);
}
