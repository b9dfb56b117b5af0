//! `rpyc-registry unregister`: ends the registration of a port of this machine.

use std::process::ExitCode;

use rpyc_client::{Registrar, Registries};

use super::{block_on, chosen};
use crate::cli::UnregisterArgs;
use crate::output;

pub(crate) fn run(
    args: &UnregisterArgs,
    registries: Option<Registries>,
) -> anyhow::Result<ExitCode> {
    let place = &args.place;
    let mut registrar = Registrar::builder(chosen(registries)?).timeout(place.timeout);
    if let Some(bind) = place.bind {
        registrar = registrar.source((bind, 0).into());
    }
    let registrar = registrar.build();
    let done = block_on(async { Ok(registrar.unregister(&place.port).await?) })?;
    output::lines(done.iter().map(|by| {
        let (port, source) = (&place.port, by.source.ip());
        format!("{}: no server is registered on port {port} of {source} any more", by.registry)
    }))?;
    Ok(ExitCode::SUCCESS)
}
