//! Announcing in RPyC's own words.

use rpyc_client::{Registrar, Registries, ServiceName};
use rpyc_server::{Announcer, AnnouncerBuilder, State, Status};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::joined;
use crate::cli::RegisterArgs;
use crate::output;

pub(super) fn announcer(args: &RegisterArgs, target: &Registries) -> AnnouncerBuilder {
    let place = &args.place;
    let mut announcer = Announcer::builder(args.names.clone(), place.port.clone(), target.clone())
        .timeout(place.timeout);
    if let Some(interval) = args.interval {
        announcer = announcer.interval(interval);
    }
    match place.bind {
        Some(bind) => announcer.bind((bind, 0).into()),
        None => announcer,
    }
}

/// Registers once; tells what has come of it.
pub(super) async fn once(args: &RegisterArgs, registrar: &Registrar) -> anyhow::Result<String> {
    let (names, port) = (&args.names, &args.place.port);
    let told = registrar.register(names, port).await?;
    Ok(told.iter().map(|by| line(names, by)).collect::<Vec<_>>().join("\n"))
}

/// Announces until `stop`; tells whether the registry knows of the end.
pub(super) async fn run(
    names: &[ServiceName],
    announcer: Announcer,
    stop: CancellationToken,
) -> bool {
    let status = announcer.status();
    tokio::select! {
        is_tidy = announcer.run(stop.cancelled_owned()) => is_tidy,
        never = tell(names, status) => never,
    }
}

/// Tells on standard error how the registries answer, for as long as it is polled.
async fn tell<T>(names: &[ServiceName], mut status: watch::Receiver<Vec<Status>>) -> T {
    let mut told: Vec<String> = Vec::new();
    loop {
        let lines: Vec<_> =
            status.borrow_and_update().iter().map(|one| describe(names, one)).collect();
        for (index, line) in lines.iter().enumerate() {
            if told.get(index) != Some(line) && !line.is_empty() {
                anstream::eprintln!("{}", output::printable(line));
            }
        }
        told = lines;
        if status.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

fn describe(names: &[ServiceName], status: &Status) -> String {
    match (&status.state, &status.last) {
        (State::Acknowledged { .. }, Some(by)) => line(names, by),
        (State::Failing { reason, .. }, _) => format!("not registered, trying again: {reason}"),
        _ => String::new(),
    }
}

fn line(names: &[ServiceName], by: &rpyc_client::Acknowledgement) -> String {
    format!("registered {} at {} as {}", joined(names), by.registry, by.source.ip())
}
