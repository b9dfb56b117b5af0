//! The registry daemon and its command line.

mod cli;
mod command;
mod logging;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.into_command() {
        Command::Serve(args) => command::serve::run(args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("rpyc-registry: {error:#}");
            ExitCode::FAILURE
        }
    }
}
