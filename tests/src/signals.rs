//! The signals that a test run was started to ignore.
//!
//! A shell without job control starts background jobs with SIGINT and SIGQUIT ignored, and `nohup`
//! ignores SIGHUP. A child inherits that, and a program that is right not to end by an ignored signal
//! would fail the tests that end it by one.

use std::sync::Once;
use std::{fs, thread};

use nix::sys::signal::Signal;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// Those by which tests end programs, and those that shells and `nohup` ignore.
const SIGNALS: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// Lets the children of this process start with the default action for each signal of [`SIGNALS`].
///
/// A signal that a process handles has its default action again in a program that it executes, and an
/// ignored one stays ignored. So this process gets a handler, which does nothing, for each signal that
/// it ignores; to the process itself that makes no difference. Call it before starting a child.
pub fn restore_defaults() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let ignored = ignored("self");
        let ignored = SIGNALS.into_iter().filter(|it| ignored & bit(*it) != 0);
        let ignored: Vec<_> = ignored.collect();
        if !ignored.is_empty() {
            // On a thread of its own, because the caller may be within a runtime.
            let handling = thread::spawn(move || handle(&ignored));
            handling.join().expect("the signals can be handled");
        }
    });
}

fn handle(signals: &[Signal]) {
    let runtime = Builder::new_current_thread().enable_io().build();
    let runtime = runtime.expect("the test process can have a runtime");
    let _inside = runtime.enter();
    for it in signals {
        // The handler stays when the stream and its runtime are gone.
        let stream = signal(SignalKind::from_raw(*it as i32));
        drop(stream.expect("the signal can be handled"));
    }
}

/// The signals that the process `pid`, or `self`, ignores, as [`bit`]s; none where Linux does not tell.
pub fn ignored(pid: &str) -> u64 {
    set(pid, "SigIgn:")
}

/// The signals that the process `pid` handles itself, likewise.
pub fn caught(pid: &str) -> u64 {
    set(pid, "SigCgt:")
}

fn set(pid: &str, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix(key));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

/// The bit of `signal` in a set of signals.
pub fn bit(signal: Signal) -> u64 {
    1 << (signal as i32 - 1)
}
