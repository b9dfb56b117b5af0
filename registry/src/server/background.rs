//! The background tasks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rpyc_protocol::registry::MULTICAST_GROUP;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::debug;

use super::pulse::Pulse;
use crate::face::Reception;
use crate::net::{Interfaces, UdpSocketPair};
use crate::probe::{self, ProbeConfig};

/// How often the machine's addresses are read again.
const INTERFACES_INTERVAL: Duration = Duration::from_secs(2);

/// A sweep that begins later than planned by more than this follows a stop of the process, or an
/// overload.
const ON_TIME: Duration = Duration::from_millis(10);

/// How long TCP connections have to read what arrived during a stop.
const AFTER_A_STOP: Duration = Duration::from_millis(50);

/// Starts the background tasks. They end when the set is dropped.
pub(super) fn start(
    reception: &Arc<Reception>,
    probes: &Arc<ProbeConfig>,
    udp: Vec<UdpSocketPair>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(sweep(Arc::clone(reception)));
    tasks.spawn(follow_interfaces(Arc::clone(reception), udp));
    if !probes.rules.is_empty() {
        let (reception, probes) = (Arc::clone(reception), Arc::clone(probes));
        tasks.spawn(async move {
            let dispatcher = Arc::clone(reception.ready().await);
            probe::run(dispatcher, probes).await;
        });
    }
    tasks
}

async fn sweep(reception: Arc<Reception>) {
    let dispatcher = reception.ready().await;
    let mut next = Instant::from_std(dispatcher.expire(Instant::now().into_std()));
    let _pulse = Pulse::start(Arc::downgrade(dispatcher));
    loop {
        tokio::time::sleep_until(next).await;
        let now = Instant::now();
        if dispatcher.has_overdue(now.into_std()) {
            // What arrived until now is served before any lease ends as of now.
            reception.drain.served().await;
            if now > next + ON_TIME {
                // After a stop, many connections have something to read.
                tokio::time::sleep(AFTER_A_STOP).await;
            }
        }
        next = Instant::from_std(dispatcher.expire(now.into_std()));
        // A long sweep comes in parts; other tasks run between them.
        tokio::task::yield_now().await;
    }
}

/// Keeps the list of the machine's addresses fresh, and joins the multicast group on new links.
async fn follow_interfaces(reception: Arc<Reception>, udp: Vec<UdpSocketPair>) {
    let mut joined = BTreeSet::new();
    loop {
        // Only a wildcard socket receives multicasts.
        let links = reception.interfaces.get().ipv6_links();
        joined.retain(|link| links.contains(link));
        let mut fresh = Vec::new();
        let wildcards = || udp.iter().filter(|pair| pair.receiver.is_ipv6_wildcard());
        for link in links.iter().filter(|link| !joined.contains(*link)) {
            // Each lane serves the multicasts of its hosts.
            let join = |pair: &UdpSocketPair| pair.receiver.join(MULTICAST_GROUP, *link);
            match wildcards().try_for_each(join) {
                Ok(()) => fresh.push(*link),
                Err(error) => debug!(link, %error, "cannot receive multicasts on this interface"),
            }
        }
        joined.extend(fresh);
        tokio::time::sleep(INTERFACES_INTERVAL).await;
        let interfaces = Interfaces::read();
        if let Some(dispatcher) = reception.dispatcher() {
            dispatcher.directory().set_own_addresses(interfaces.networks());
        }
        reception.interfaces.set(interfaces);
    }
}
