//! How soon a change is known to thousands of watchers, what it costs the daemon, and how thousands of
//! connections fare.
//!
//! ```console
//! cargo run --release -p rpyc-registry -- --host 127.0.0.1 --port 18899 --store memory &
//! cargo run --release -p rpyc-benches --bin watch-bench -- watch 127.0.0.1:18899 --pid $!
//! ```
//!
//! The observer is one thread with one epoll, so that it takes as little as it can of a machine that it
//! shares with the daemon. Latency is from just before a change is sent until the *kernel* has it at the
//! watcher's socket (`SO_TIMESTAMPNS`), so how soon the observer gets round to reading is not counted.
//! What its reading takes from the daemon still is, unless `--hold` makes it sleep until the daemon is
//! done. `bare` is the lower bound to set beside: a server that does nothing but write as many bytes to
//! as many sockets, from as many threads.
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
    /// Watch from many connections, make changes one after the other, tell how soon all know
    Watch(watch::Args),
    /// Register as fast as can be beside the watchers
    Storm(storm::Args),
    /// Connect from everywhere at once, ask once, stay
    Connect(connect::Args),
    /// Be the lower bound: write to every watcher what a registry would
    Bare(bare::Args),
}
