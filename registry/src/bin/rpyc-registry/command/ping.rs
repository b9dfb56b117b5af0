//! `rpyc-registry ping`: whether the servers of a name answer, how fast, and what they speak.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use rpyc_client::{CallError, Connection, Registries, ServiceName, Version};
use serde_json::json;

use super::target::Target;
use super::{block_on, registrar};
use crate::cli::{OutputFormat, PingArgs};
use crate::output;

/// Asked of a server so that it refuses: a refusal tells the version, and changes nothing.
const NO_SUCH_ATTRIBUTE: &str = "_rpyc_registry_ping";

struct Pong {
    address: String,
    outcome: Result<Answer, String>,
}

struct Answer {
    connect: Duration,
    round_trip: Duration,
    dialect: &'static str,
    version: Option<String>,
}

pub(crate) fn run(args: &PingArgs, registries: Option<Registries>) -> anyhow::Result<ExitCode> {
    let timeout = args.ask.timeout;
    let pongs = block_on(async {
        let addresses = match &args.target {
            Target::Address(address) => vec![address.clone()],
            Target::Name(name) => {
                let instances =
                    registrar(registries, timeout)?.resolve(&ServiceName::new(name)?).await?;
                instances.iter().map(|instance| instance.endpoint.to_string()).collect()
            }
        };
        let mut pongs = Vec::new();
        for address in addresses {
            let outcome = ping(&address, timeout).await.map_err(|error| format!("{error:#}"));
            pongs.push(Pong { address, outcome });
        }
        Ok(pongs)
    })?;
    match args.ask.output {
        OutputFormat::Json => output::json(&pongs.iter().map(document).collect())?,
        OutputFormat::Name => {
            let alive = pongs.iter().filter(|pong| pong.outcome.is_ok());
            output::lines(alive.map(|pong| pong.address.clone()))?;
        }
        OutputFormat::Table => {
            let headings = ["ADDRESS", "CONNECT", "ROUND TRIP", "DIALECT", "VERSION", "STATE"];
            output::table(headings, pongs.iter().map(row))?;
        }
    }
    let all_answered = pongs.iter().all(|pong| pong.outcome.is_ok());
    Ok(if all_answered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn ping(address: &str, timeout: Duration) -> anyhow::Result<Answer> {
    let started = Instant::now();
    let builder = Connection::builder().timeout(timeout).connect_timeout(timeout);
    let connection = builder.connect(address).await?;
    let connect = started.elapsed();
    let round_trip = connection.ping().await?;
    let dialect = match connection.dialect().map(|dialect| dialect.version) {
        Some(Version::V5) => "5",
        Some(Version::V6) | None => "6",
    };
    let refused = connection.root().await?.attr::<()>(NO_SUCH_ATTRIBUTE).timeout(timeout).await;
    let version = match refused {
        Err(CallError::Remote(exception)) => exception.remote_version().map(str::to_owned),
        Ok(()) | Err(_) => None,
    };
    connection.close().await;
    Ok(Answer { connect, round_trip, dialect, version })
}

fn row(pong: &Pong) -> [String; 6] {
    let address = pong.address.clone();
    let dash = || "-".to_owned();
    match &pong.outcome {
        Ok(answer) => {
            let version = answer.version.clone().unwrap_or_else(dash);
            let (connect, trip) = (micros(answer.connect), micros(answer.round_trip));
            [address, connect, trip, answer.dialect.to_owned(), version, "answers".to_owned()]
        }
        Err(error) => [address, dash(), dash(), dash(), dash(), error.clone()],
    }
}

fn document(pong: &Pong) -> serde_json::Value {
    match &pong.outcome {
        Ok(answer) => json!({
            "address": pong.address,
            "connect_us": answer.connect.as_micros(),
            "round_trip_us": answer.round_trip.as_micros(),
            "dialect": answer.dialect,
            "version": answer.version,
        }),
        Err(error) => json!({ "address": pong.address, "error": error }),
    }
}

fn micros(duration: Duration) -> String {
    format!("{:.2}ms", duration.as_secs_f64() * 1e3)
}
