//! Keeping one name fresh: the task that watches, or asks again and again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::known::{Known, ServerSet};
use super::shared::Shared;
use super::slot::Slot;
use crate::registrar::Lookup;
use crate::registrar::native::Watch;
use crate::{Attempt, Fault, LookupError, RegistryAddr};

/// The pause before a registry that has failed is asked again: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Keeps a name fresh until it has been unused for a while.
pub(super) async fn keep(shared: Arc<Shared>, slot: Arc<Slot>, first: Lookup) {
    let mut last = first.clone();
    let mut found = Some(first);
    let mut pause = PAUSES.0;
    loop {
        if let Some(found) = found.take() {
            pause = PAUSES.0;
            last.clone_from(&found);
            if !found.is_native || !watch(&shared, &slot, &found).await {
                wait(&shared, &slot, off(shared.settings.poll, 0.2)).await;
            }
        } else {
            wait(&shared, &slot, off(pause, 0.5)).await;
            pause = (pause * 2).min(PAUSES.1);
        }
        if shared.forget(&slot) {
            return;
        }
        found = ask(&shared, &slot, &last).await;
    }
}

/// `about`, but a share of it more or less, so that not all programs come at once.
fn off(about: Duration, share: f64) -> Duration {
    about.mul_f64(1.0 - share + 2.0 * share * fastrand::f64())
}

/// Asks all registries; returns the one to stay with, if any has answered. A registry that now
/// returns an empty answer is the one to stay with if it had servers before.
async fn ask(shared: &Shared, slot: &Slot, last: &Lookup) -> Option<Lookup> {
    let asked = shared.ask(slot.name()).await;
    let now = Instant::now().into_std();
    match asked {
        Ok(found) => {
            let servers = ServerSet::from(&found);
            slot.learn(|known| known.replace(now, servers)).then_some(found)
        }
        Err(error) => {
            unanswered(slot, now, &error);
            let is_last = |attempt: &Attempt| {
                attempt.registry == last.registry && matches!(attempt.fault, Fault::Unknown)
            };
            error.attempts().iter().any(is_last).then(|| last.clone())
        }
    }
}

/// Handles a lookup without servers: because no registry answered, or because the name has none.
fn unanswered(slot: &Slot, now: std::time::Instant, error: &LookupError) {
    let attempts = error.attempts();
    // Who knew the servers may be among the silent.
    let all_say_so = attempts.iter().all(|attempt| matches!(attempt.fault, Fault::Unknown));
    let empty = attempts.iter().find(|attempt| matches!(attempt.fault, Fault::Unknown));
    slot.learn(|known| match empty {
        Some(empty) if all_say_so => {
            let registry = empty.registry.clone();
            // Which state it was is not known, so nothing is older than it.
            let mut events =
                known.replace(now, ServerSet { registry, revision: None, instances: Vec::new() });
            events.extend(known.expire(now));
            events
        }
        _ => {
            let mut events = known.lost(now);
            events.extend(known.expire(now));
            events
        }
    });
}

/// Waits, and meanwhile drops expired servers.
async fn wait(shared: &Shared, slot: &Slot, pause: Duration) {
    let end = Instant::now() + pause;
    loop {
        let until = next_look(shared, slot).min(end);
        sleep_until(until).await;
        let now = Instant::now();
        slot.learn(|known| known.expire(now.into_std()));
        if now >= end || shared.is_idle(slot) {
            return;
        }
    }
}

/// When something expires, or the name has been unused for long enough.
fn next_look(shared: &Shared, slot: &Slot) -> Instant {
    // A follower may stop without notice.
    let idle = shared.settings.idle.max(Duration::from_millis(1));
    let idle =
        slot.last_asked().map_or_else(|| Instant::now() + idle, |it| Instant::from_std(it + idle));
    let expiry = slot.read(Known::next_expiry).map(Instant::from_std);
    expiry.map_or(idle, |expiry| expiry.min(idle))
}

/// Watches the name at the registry that answered; `false` if the watch does not even begin.
///
/// A watch that is lost is taken up once where it ended; if that fails, all registries are asked.
async fn watch(shared: &Shared, slot: &Slot, found: &Lookup) -> bool {
    let mut has_begun = false;
    let mut pause = PAUSES.0;
    loop {
        let since = slot.read(Known::revision);
        let begun = shared.registrar.watch_at(found, slot.name(), since).await;
        let mut watch = match begun {
            Ok(watch) => watch,
            Err(error) => {
                tracing::debug!(name = %slot.name(), %error, "cannot watch");
                return has_begun;
            }
        };
        shared.counters.watches.count();
        has_begun = true;
        slot.learn(|known| {
            let events = known.watched(true);
            if since.is_none() {
                known.relearn();
            }
            events
        });
        let begun = Instant::now();
        match follow(shared, slot, &found.registry, &mut watch).await {
            Ended::Idle | Ended::AskAnew => return true,
            Ended::Failed => {
                slot.learn(|known| known.watched(false));
                // So that not all clients of a registry that comes back come at once.
                pause = if begun.elapsed() > PAUSES.1 { PAUSES.0 } else { pause };
                sleep(off(pause, 0.9)).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
}

/// Why a watch ended.
enum Ended {
    /// The registry ended it.
    Failed,
    /// The name is unused.
    Idle,
    /// The registry has been silent or returned nothing for a while, and another may do better; or
    /// it cannot be believed.
    AskAnew,
}

async fn follow(shared: &Shared, slot: &Slot, registry: &RegistryAddr, watch: &mut Watch) -> Ended {
    let has_others = shared.registrar.registries().iter().len() > 1;
    let mut empty_until = Instant::now() + shared.settings.poll;
    loop {
        let is_empty = has_others && !slot.read(Known::is_live);
        let until = next_look(shared, slot);
        let until = if is_empty { until.min(empty_until) } else { until };
        let changed = timeout_at(until, watch.changed()).await;
        let now = Instant::now();
        match changed {
            Ok(Ok(change)) => {
                if !slot.learn(|known| known.changed(now.into_std(), change)) {
                    return Ended::AskAnew;
                }
            }
            Ok(Err(error)) => {
                tracing::debug!(name = %slot.name(), %error, "the watch ended");
                if matches!(error.fault, Fault::NoReply) {
                    // It may have been out of reach all the time; another may answer.
                    slot.learn(|known| known.lost(now.into_std()));
                    return Ended::AskAnew;
                }
                return Ended::Failed;
            }
            Err(_elapsed) => {}
        }
        slot.learn(|known| known.expire(now.into_std()));
        if shared.is_idle(slot) {
            return Ended::Idle;
        }
        // A lookup at all registries may have found another.
        if slot.read(|known| known.registry() != Some(registry)) {
            return Ended::AskAnew;
        }
        if slot.read(Known::is_live) {
            empty_until = now + shared.settings.poll;
        } else if has_others && now >= empty_until {
            return Ended::AskAnew;
        }
    }
}
