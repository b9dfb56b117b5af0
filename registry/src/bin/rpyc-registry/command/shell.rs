//! `rpyc-registry shell`: opens the prompt of a remote Python.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use rpyc_client::classic::{self, Classic, Stdio};
use rpyc_client::{Connection, Registries, ServiceName};

use super::target::Target;
use super::{block_on, registrar};
use crate::cli::{ShellArgs, SpeakArgs};

/// The default port of `rpyc_classic`.
const CLASSIC_PORT: u16 = 18812;

pub(crate) fn run(args: &ShellArgs, registries: Option<Registries>) -> anyhow::Result<ExitCode> {
    block_on(async {
        let connection = connect(&args.target, registries, args.speak, args.timeout).await?;
        let machine = Classic::over(&connection).await?;
        let is_classic = machine.modules("sys").await;
        is_classic.with_context(|| {
            format!("{} is not a classic server; start one with `rpyc_classic`", args.target)
        })?;
        machine.interact(Stdio::default()).await?;
        connection.close().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Connects to an address, to a server of the name, or else to the default port of the host with
/// that name.
async fn connect(
    target: &Target,
    registries: Option<Registries>,
    speak: SpeakArgs,
    timeout: Duration,
) -> anyhow::Result<Connection> {
    let builder = || speak.apply(classic::builder()).connect_timeout(timeout);
    let name = match target {
        Target::Address(address) => {
            return Ok(builder().connect(address).await?);
        }
        Target::Name(name) => name,
    };
    let registrar = registrar(registries, timeout)?;
    let found = builder().connect_through(&registrar, &ServiceName::new(name)?).await;
    let unknown = match found {
        Ok(connection) => return Ok(connection),
        Err(error) => error,
    };
    let host = format!("{name}:{CLASSIC_PORT}");
    builder().connect(&host).await.with_context(|| {
        format!("cannot connect to {name}: no such service ({unknown}), and no server at {host}")
    })
}
