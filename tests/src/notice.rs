//! Words to whoever runs the tests.

use std::io::Write as _;

/// Writes one line to standard error, past the test runner.
///
/// The runner keeps what the print macros write and shows it only for failed tests; what is installed or not
/// run must be seen in any case.
pub fn notice(line: &str) {
    // Nobody is left to tell when standard error itself is gone.
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
