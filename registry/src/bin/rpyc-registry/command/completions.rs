//! `rpyc-registry completions`: prints completion scripts for shells.

use std::io;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::{generate, shells};

use crate::cli::{Cli, Shell};

pub(crate) fn run(shell: Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    let (command, name) = (&mut Cli::command(), "rpyc-registry");
    match shell {
        Shell::Bash => generate(shells::Bash, command, name, &mut script),
        Shell::Fish => generate(shells::Fish, command, name, &mut script),
        Shell::Zsh => generate(shells::Zsh, command, name, &mut script),
    }
    io::Write::write_all(&mut io::stdout().lock(), &script)?;
    Ok(ExitCode::SUCCESS)
}
