//! `rpyc-registry watch`: shows changes as they happen.

mod follow;
mod screen;
mod view;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use rpyc_client::Registries;
use rpyc_client::native::{Change, ChangeKind};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use self::follow::{Update, follow};
use self::screen::Screen;
use self::view::View;
use super::{block_on, operator_registrar};
use crate::cli::{WatchArgs, WatchFormat};
use crate::{output, signals};

/// The interval at which the times on the screen are updated.
const TICK: Duration = Duration::from_secs(1);

/// The capacity of the queue of changes to display. When it is full, the registry waits.
const WAITING: usize = 1024;

pub(crate) fn run(args: &WatchArgs, registries: Option<Registries>) -> anyhow::Result<ExitCode> {
    let is_screen = io::stdout().is_terminal()
        && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb");
    let format =
        args.output.unwrap_or(if is_screen { WatchFormat::Table } else { WatchFormat::Json });
    if format == WatchFormat::Table && !is_screen {
        let message = "a live table needs a terminal; -o json prints a line for each change";
        return Err(crate::UsageError(message).into());
    }
    let registrar = operator_registrar(registries, args.timeout)?;
    block_on(async {
        let end = signals::listen()?;
        let native = registrar.native();
        let begun = native.watch(args.glob.as_deref(), None).await?;
        let registry = begun.registry().to_string();
        let (updates, received) = mpsc::channel(WAITING);
        let following = tokio::spawn(follow(native, args.glob.clone(), begun, updates));
        let shown = match format {
            WatchFormat::Json => tokio::select! {
                shown = lines(received) => shown,
                _ = end => Ok(()),
            },
            WatchFormat::Table => {
                table(View::new(args.glob.clone(), registry), received, end).await
            }
        };
        following.abort();
        shown.map(|()| ExitCode::SUCCESS)
    })
}

/// Prints a line of JSON for each change.
async fn lines(mut received: mpsc::Receiver<Update>) -> anyhow::Result<()> {
    let mut is_current = false;
    while let Some(update) = received.recv().await {
        let line = match update {
            Update::Lost(why) => json!({ "event": "disconnected", "why": why }),
            Update::Found => json!({ "event": "connected" }),
            Update::Changed(Change { revision, kind, .. }) => {
                let was_current = is_current;
                match kind {
                    // The registry repeats this event while nothing changes; only the first one is
                    // printed.
                    ChangeKind::Current if was_current => continue,
                    ChangeKind::Current => is_current = true,
                    ChangeKind::Reset => is_current = false,
                    _ => {}
                }
                let Some(mut line) = line(kind) else { continue };
                line.insert("revision".to_owned(), revision.to_string().into());
                line.into()
            }
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{}", output::json_text(&line.to_string()))?;
        out.flush()?;
    }
    Ok(())
}

/// Formats a change; `None` if this version does not know its kind.
fn line(kind: ChangeKind) -> Option<Map<String, Value>> {
    let (event, about) = match kind {
        ChangeKind::Added(name, instance) => ("added", Some((name, instance))),
        ChangeKind::Updated(name, instance) => ("updated", Some((name, instance))),
        ChangeKind::Removed(name, instance) => ("removed", Some((name, instance))),
        ChangeKind::Reset => ("reset", None),
        ChangeKind::Current => ("current", None),
        _ => return None,
    };
    let mut line = Map::new();
    line.insert("event".to_owned(), event.into());
    if let Some((name, instance)) = about {
        line.insert("name".to_owned(), name.into());
        line.insert("instance".to_owned(), output::as_json(&instance));
    }
    Some(line)
}

/// Shows a table and redraws it after every change.
async fn table(
    mut view: View,
    mut received: mpsc::Receiver<Update>,
    end: impl Future<Output = signals::Request>,
) -> anyhow::Result<()> {
    let mut screen = Screen::open()?;
    let mut resized = signals::resized()?;
    let mut tick = tokio::time::interval(TICK);
    let mut waiting = Vec::new();
    tokio::pin!(end);
    loop {
        tokio::select! {
            _ = &mut end => break,
            count = received.recv_many(&mut waiting, WAITING) => {
                if count == 0 {
                    break;
                }
                for update in waiting.drain(..) {
                    view.take(update);
                }
            }
            () = resized.changed() => {}
            _ = tick.tick() => {}
        }
        view.forget_gone();
        screen.draw(&view)?;
    }
    drop(screen);
    // Print the last state, so that it stays after the screen closes.
    view.print()?;
    Ok(())
}
