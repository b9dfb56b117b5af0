//! The registry daemon and its command line.

mod advice;
mod cli;
mod command;
mod config;
mod literal;
mod logging;
mod output;
mod signals;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::config::{ConfigError, Environment};

/// An error in the use of the command line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(&'static str);

/// The exit code for usage errors, the same as clap's.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let parsed = Cli::try_parse().and_then(Cli::into_command);
    let (command, registries) = match parsed {
        Ok(resolved) => resolved,
        Err(usage) => return refuse(&usage),
    };
    let result = match command {
        Command::Serve(switches) => command::serve::run(switches),
        Command::CheckConfig(switches) => command::check_config::run(switches),
        Command::Bench(args) => command::bench::run(&args, registries.is_some()),
        Command::Call(args) => command::call::run(&args, registries),
        Command::Inspect(args) => command::inspect::run(&args, registries),
        Command::Ping(args) => command::ping::run(&args, registries),
        Command::List(args) => command::list::run(&args, registries),
        Command::Describe(args) => command::describe::run(&args, registries),
        Command::Watch(args) => command::watch::run(&args, registries),
        Command::Drain(args) => command::operate::drain(&args, registries),
        Command::Undrain(args) => command::operate::undrain(&args, registries),
        Command::Deregister(args) => command::operate::deregister(&args, registries),
        Command::Release(args) => command::operate::release(&args, registries),
        Command::Status(args) => command::status::run(&args, registries),
        Command::Lookup(args) => command::lookup::run(&args, registries),
        Command::Register(args) => command::register::run(&args, registries),
        Command::Shell(args) => command::shell::run(&args, registries),
        Command::Unregister(args) => command::unregister::run(&args, registries),
        Command::Completions { shell } => command::completions::run(shell),
    };
    result.unwrap_or_else(|error| fail(&error))
}

/// Reports wrong usage. If more settings are wrong than the one that clap has found, reports all.
fn refuse(usage: &clap::Error) -> ExitCode {
    let settings = if usage.use_stderr() { Cli::unchecked_settings() } else { None };
    match settings.map(|settings| config::resolve(settings, &Environment::of_process())) {
        Some(Err(error @ ConfigError(_))) if error.0.len() > 1 => fail(&error.into()),
        _ => usage.exit(),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    let is_broken_pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    if error.downcast_ref().is_some_and(is_broken_pipe) {
        // The reader of standard output has closed it, which is not a failure.
        return ExitCode::SUCCESS;
    }
    match error.downcast_ref() {
        Some(ConfigError(errors)) => errors.iter().for_each(|error| output::problem(error)),
        None => output::problem(&advice::message(error)),
    }
    let is_usage = error.is::<rpyc_client::RegistryAddrError>()
        || error.is::<ConfigError>()
        || error.is::<UsageError>();
    if is_usage { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
}
