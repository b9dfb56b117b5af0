//! The registry daemon and its command line.

mod cli;
mod command;
mod literal;
mod logging;
mod output;
mod reach;
mod signals;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// What usage errors end with; clap's own end with the same.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let (command, registries) = match Cli::parse().into_command() {
        Ok(resolved) => resolved,
        Err(usage) => usage.exit(),
    };
    let result = match command {
        Command::Serve(args) => command::serve::run(args),
        Command::Call(args) => command::call::run(&args, registries),
        Command::Inspect(args) => command::inspect::run(&args, registries),
        Command::Ping(args) => command::ping::run(&args, registries),
        Command::List(args) => command::list::run(&args, registries),
        Command::Lookup(args) => command::lookup::run(&args, registries),
        Command::Register(args) => command::register::run(args, registries),
        Command::Shell(args) => command::shell::run(&args, registries),
        Command::Unregister(args) => command::unregister::run(&args, registries),
        Command::Completions { shell } => command::completions::run(shell),
    };
    result.unwrap_or_else(|error| fail(&error))
}

fn fail(error: &anyhow::Error) -> ExitCode {
    let is_broken_pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    if error.downcast_ref().is_some_and(is_broken_pipe) {
        // Whoever reads the answer has read enough.
        return ExitCode::SUCCESS;
    }
    anstream::eprintln!("rpyc-registry: {}", output::printable(&format!("{error:#}")));
    let is_usage = error.is::<rpyc_client::RegistryAddrError>();
    if is_usage { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
}
