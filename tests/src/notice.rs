//! Notices to the person who runs the tests.

use std::io::Write as _;

/// Writes one line to standard error, past the test runner.
///
/// The runner captures the print macros and shows their output only for failed tests. Notices of
/// installations and skipped tests must always be visible.
pub fn notice(line: &str) {
    // A closed standard error leaves no way to report the failure.
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
