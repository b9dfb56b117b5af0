//! `rpyc-registry ping`: checks that the servers of a name answer, and reports latency and dialect.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use rpyc_client::{
    ConnectionBuilder, Dialect, Instance, Opening, Registrar, Registries, ServiceName, native,
};
use serde_json::json;

use super::target::Target;
use super::{availability, block_on, registrar};
use crate::cli::{OutputFormat, PingArgs};
use crate::output;

struct Pong {
    address: String,
    outcome: Result<Answer, String>,
}

struct Answer {
    /// The time to connect and the time to the first reply.
    opening: Opening,
    /// The round-trip time of one PING on the open connection.
    round_trip: Duration,
    dialect: Dialect,
}

pub(crate) fn run(args: &PingArgs, registries: Option<Registries>) -> anyhow::Result<ExitCode> {
    let timeout = args.ask.timeout;
    let pongs = block_on(async {
        let mut pongs = Vec::new();
        match &args.target {
            Target::Address(address) => {
                pongs.push(Pong::of(address, args.speak.builder(), timeout).await);
            }
            Target::Name(name) => {
                let registrar = registrar(registries, timeout)?;
                let name = ServiceName::new(name)?;
                for instance in instances(&registrar, &name).await? {
                    let builder = match instance.dialect {
                        Some(dialect) => args.speak.builder().try_first(dialect),
                        None => args.speak.builder(),
                    };
                    let pong = Pong::of(&instance.endpoint.to_string(), builder, timeout).await;
                    if let (Some(id), Some(found)) = (instance.id, pong.discovery()) {
                        let target = native::Target { instance: Some(id), ..Default::default() };
                        // Later clients benefit from the report. Its result does not affect the
                        // ping.
                        let _ = registrar.native().report_dialect(target, found).await;
                    }
                    pongs.push(pong);
                }
            }
        }
        anyhow::Ok(pongs)
    })?;
    match args.ask.output {
        OutputFormat::Json => output::json(&pongs.iter().map(document).collect())?,
        OutputFormat::Name => {
            let alive = pongs.iter().filter(|pong| pong.outcome.is_ok());
            output::lines(output::words(alive.map(|pong| pong.address.clone())))?;
        }
        OutputFormat::Table => {
            let headings = ["ADDRESS", "CONNECT", "FIRST ANSWER", "ROUND TRIP", "DIALECT", "STATE"];
            output::table(headings, pongs.iter().map(row))?;
        }
    }
    let all_answered = pongs.iter().all(|pong| pong.outcome.is_ok());
    Ok(if all_answered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The instances of a name, also those that clients do not get, such as drained ones.
async fn instances(registrar: &Registrar, name: &ServiceName) -> anyhow::Result<Vec<Instance>> {
    let found = registrar.resolve(name).await;
    let is_legacy = |found: &Vec<Instance>| found.iter().all(|instance| instance.id.is_none());
    if found.as_ref().is_ok_and(is_legacy) {
        // RPyC's own registry has no others.
        return Ok(found?);
    }
    match availability::instances(registrar, name).await {
        all if all.is_empty() => Ok(found?),
        all => Ok(all),
    }
}

impl Pong {
    async fn of(address: &str, builder: ConnectionBuilder, timeout: Duration) -> Self {
        let outcome = ping(address, builder, timeout).await;
        Self { address: address.to_owned(), outcome: outcome.map_err(|error| format!("{error:#}")) }
    }

    /// The dialect of the server, if the client expected another one.
    fn discovery(&self) -> Option<Dialect> {
        let answer = self.outcome.as_ref().ok()?;
        answer.opening.not_understood.map(|_| answer.dialect)
    }
}

/// Sends only pings to a server. If its dialect is unknown, the first ping discovers it.
async fn ping(
    address: &str,
    builder: ConnectionBuilder,
    timeout: Duration,
) -> anyhow::Result<Answer> {
    let builder = builder.timeout(timeout).connect_timeout(timeout);
    let connection = builder.greet_with_ping().connect(address).await?;
    let round_trip = connection.ping().await?;
    let opening = connection.opening().cloned().context("the connection recorded no handshake")?;
    let dialect = connection.dialect().unwrap_or(Dialect::V6);
    connection.close().await;
    Ok(Answer { opening, round_trip, dialect })
}

fn row(pong: &Pong) -> [String; 6] {
    let address = pong.address.clone();
    let dash = || "-".to_owned();
    match &pong.outcome {
        Ok(Answer { opening, round_trip, dialect }) => {
            let connect = micros(opening.connect);
            let first_answer = opening.first_answer.map_or_else(dash, micros);
            let dialect = dialect.version.as_str().to_owned();
            let state = match opening.not_understood {
                Some(tried) => format!("answers; {tried} was tried first"),
                None => "answers".to_owned(),
            };
            [address, connect, first_answer, micros(*round_trip), dialect, state]
        }
        Err(error) => [address, dash(), dash(), dash(), dash(), error.clone()],
    }
}

fn document(pong: &Pong) -> serde_json::Value {
    match &pong.outcome {
        Ok(Answer { opening, round_trip, dialect }) => json!({
            "address": pong.address,
            "connect_us": opening.connect.as_micros(),
            "first_answer_us": opening.first_answer.map(|time| time.as_micros()),
            "round_trip_us": round_trip.as_micros(),
            "dialect": dialect.version.as_str(),
            "not_understood": opening.not_understood.map(|tried| tried.version.as_str()),
        }),
        Err(error) => json!({ "address": pong.address, "error": error }),
    }
}

fn micros(duration: Duration) -> String {
    format!("{:.2}ms", duration.as_secs_f64() * 1e3)
}
