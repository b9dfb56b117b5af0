//! Measures how soon thousands of watchers learn of a change, what that costs the daemon, and how
//! thousands of connections fare.
//!
//! ```console
//! cargo run --release -p rpyc-registry -- --host 127.0.0.1 --port 18899 --store memory &
//! cargo run --release -p rpyc-benches --bin watch-bench -- watch 127.0.0.1:18899 --pid $!
//! ```
//!
//! The observer is one thread with one epoll, so that it takes as little as possible of a machine
//! that it shares with the daemon. Latency is from just before a change is sent until the *kernel*
//! has it at the watcher's socket (`SO_TIMESTAMPNS`), so the delay until the observer reads it does
//! not count. The time that reading takes from the daemon does, unless `--hold` makes the observer
//! sleep until the daemon is done. `bare` is the lower bound for comparison: a server that only
//! writes as many bytes to as many sockets, from as many threads.
//!
//! Linux only.
#![expect(clippy::print_stdout, reason = "the result is what this is for")]

#[cfg(target_os = "linux")]
mod bare;
#[cfg(target_os = "linux")]
mod beside;
#[cfg(target_os = "linux")]
mod changes;
#[cfg(target_os = "linux")]
mod connect;
#[cfg(target_os = "linux")]
mod daemon;
#[cfg(target_os = "linux")]
mod observer;
#[cfg(target_os = "linux")]
mod storm;
#[cfg(target_os = "linux")]
mod watch;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    use clap::Parser;
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    match Cli::parse().command {
        Command::Watch(args) => watch::run(&args),
        Command::Storm(args) => storm::run(&args),
        Command::Connect(args) => connect::run(&args),
        Command::Bare(args) => bare::run(&args),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("watch-bench reads timestamps as only Linux gives them");
}

#[cfg(target_os = "linux")]
#[derive(clap::Parser)]
#[command(about = "Measure watchers and connections of a registry")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[cfg(target_os = "linux")]
#[derive(clap::Subcommand)]
enum Command {
    /// Watch from many connections, make one change after another, report when all watchers know
    Watch(watch::Args),
    /// Register as fast as possible beside the watchers
    Storm(storm::Args),
    /// Connect many clients at once, each with one request
    Connect(connect::Args),
    /// Run the lower bound: write a registry's events to every watcher
    Bare(bare::Args),
}
