//! Restores the default actions of signals that the test run inherited as ignored.
//!
//! A shell without job control starts background jobs with SIGINT and SIGQUIT ignored, and `nohup`
//! ignores SIGHUP. A child inherits that. A correct program does not stop on an ignored signal, and
//! would fail the tests that send it one.

use std::sync::Once;
use std::{fs, thread};

use nix::sys::signal::Signal;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// The signals by which tests stop programs, and those that shells and `nohup` ignore.
const SIGNALS: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// Makes the children of this process start with the default action for each signal of `SIGNALS`.
///
/// When a process executes a program, a handled signal returns to its default action, and an
/// ignored one stays ignored. So this function installs an empty handler for each signal that this
/// process ignores, which makes no difference to the process itself. Call it before starting a
/// child.
pub fn restore_defaults() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let ignored = ignored("self");
        let ignored = SIGNALS.into_iter().filter(|it| ignored & bit(*it) != 0);
        let ignored: Vec<_> = ignored.collect();
        if !ignored.is_empty() {
            // On a separate thread, because the caller may be inside a runtime.
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
        // The handler outlives the stream and its runtime.
        let stream = signal(SignalKind::from_raw(*it as i32));
        drop(stream.expect("the signal can be handled"));
    }
}

/// The signals that the process `pid`, or `self`, ignores, as [`bit`]s; empty without `/proc`.
pub fn ignored(pid: &str) -> u64 {
    set(pid, "SigIgn:")
}

/// The signals that the process `pid` handles itself, in the same form.
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
