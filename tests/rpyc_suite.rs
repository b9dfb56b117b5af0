//! `docs/rpyc-tests.md` has a row for every module of RPyC's suite, and every test it names exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../docs/rpyc-tests.md");
const UPSTREAM: &str = include_str!("python/upstream.py");
const CONFORMANCE: &str = include_str!("python/conformance.py");

/// The modules of RPyC's suite, version 6.0, without `test_`.
const SUITE: [&str; 32] = [
    "affinity",
    "async",
    "attr_access",
    "attributes",
    "brine",
    "classic",
    "context_managers",
    "custom_service",
    "dataclass",
    "deploy",
    "gdb",
    "get_id_pack",
    "gevent_server",
    "ipv6",
    "magic",
    "netref_hierachy",
    "numpy",
    "oneshot_server",
    "race",
    "refcount",
    "registry",
    "remote_exception",
    "remoting",
    "rpyc_over_rpyc",
    "service_pickle",
    "ssh",
    "ssl",
    "teleportation",
    "threaded_server",
    "threads",
    "urllib3",
    "win32pipes",
];

/// The modules and the tests that replay them, for each row.
fn rows() -> Vec<(Vec<&'static str>, &'static str)> {
    let cells = PAGE.lines().filter_map(|line| line.strip_prefix("| `test_")?.split_once(" | "));
    let modules = |cell: &'static str| {
        let names = cell.split(", ").map(|name| name.trim_matches('`'));
        names.map(|name| name.strip_prefix("test_").unwrap_or(name)).collect()
    };
    cells.map(|(left, right)| (modules(left), right)).collect()
}

/// Each piece of text between backticks, with the text before it.
fn code(text: &str) -> Vec<(&str, &str)> {
    let parts: Vec<_> = text.split('`').collect();
    parts.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn each_module_of_the_suite_has_one_row() {
    let mut seen = BTreeSet::new();
    for (modules, _) in rows() {
        for module in modules {
            assert!(seen.insert(module), "{module} has two rows");
        }
    }
    assert_eq!(seen, BTreeSet::from(SUITE));
}

#[test]
fn what_replays_a_module_is_there() {
    let scenarios: Vec<_> = UPSTREAM.lines().filter_map(|line| line.strip_prefix("def ")).collect();
    for (modules, replayed_by) in rows() {
        let mut file = String::new();
        for (before, name) in code(replayed_by) {
            if name.contains('/') {
                let path = root().join(name);
                assert!(path.exists(), "{name}");
                file = fs::read_to_string(path).unwrap_or_default();
            } else if name == "upstream" && !replayed_by.contains("`upstream` over TLS") {
                for module in &modules {
                    // `upstream.py` has a separate test for `classic`.
                    let is_there = scenarios.iter().any(|scenario| scenario.contains(module));
                    assert!(is_there, "no scenario of {module} in upstream.py");
                }
            } else if before.contains("conformance scenario") {
                let prefix = format!("def {}", name.trim_end_matches('*'));
                assert!(CONFORMANCE.contains(&prefix), "{name}");
            } else if before == " (" || before == ", " && !file.is_empty() {
                let is_there = file.contains(&format!("fn {name}("));
                assert!(is_there || name.contains("::"), "no {name} in the file before it");
            }
        }
    }
}
