//! Events that a registry sends to its watchers.

use std::collections::BTreeMap;
use std::time::Duration;

use rpyc_client::native::{ChangeKind, DetailsUpdate, Query, Target};
use rpyc_client::resolver::Stats;
use rpyc_client::{ConnectError, LookupError, Resolver};
use rpyc_tests::PATIENCE;

use super::{is_watched, shown, until};
use crate::embedded::Embedded;

#[tokio::test]
async fn answers_come_from_memory_and_changes_arrive() {
    let registry = Embedded::start();
    let lease = registry.register(1).await.lease;
    let resolver = Resolver::new(registry.addr());
    let mut following = resolver.follow("payroll").await.unwrap();
    until(&mut following, "a watch", is_watched).await;
    for _ in 0..100 {
        assert_eq!(shown(&resolver.resolve("PayRoll").await.unwrap()), ["1"]);
    }
    let Stats { asked, from_memory, watches, names, .. } = resolver.stats();
    assert_eq!((asked, from_memory, watches, names), (1, 100, 1, 1));

    registry.register(2).await;
    until(&mut following, "another server", |it| shown(it) == ["1", "2"]).await;
    let native = registry.native();
    let mine = Target { lease: Some(lease), ..Target::default() };
    native.drain(mine.clone()).await.unwrap();
    until(&mut following, "a drained server", |it| shown(it) == ["1 draining", "2"]).await;
    native.undrain(mine.clone()).await.unwrap();
    let tags = DetailsUpdate { tags: Some(["x".into()].into()), ..DetailsUpdate::default() };
    native.update(lease, tags).await.unwrap();
    let tagged = |it: &rpyc_client::Instance| it.details.tags.contains("x");
    until(&mut following, "a tag", |it| it.instances.iter().any(tagged)).await;
    native.deregister(mine).await.unwrap();
    let last = until(&mut following, "one server less", |it| shown(it) == ["2"]).await;
    assert!(last.revision.is_some() && last.registry == Some(registry.addr()));
    assert_eq!(resolver.stats().asked, 1);
    assert_eq!(resolver.status().len(), 1);
}

#[tokio::test]
async fn many_that_ask_at_the_same_time_are_one_question() {
    let registry = Embedded::start();
    registry.register(1).await;
    let resolver = Resolver::new(registry.addr());
    let asking = (0..50).map(|_| {
        let resolver = resolver.clone();
        tokio::spawn(async move { resolver.resolve("payroll").await.map(|it| shown(&it)) })
    });
    for asked in asking.collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap().unwrap(), ["1"]);
    }
    assert_eq!(resolver.stats().asked, 1);
}

#[tokio::test]
async fn names_that_nobody_asks_for_are_dropped_unless_they_are_followed() {
    let registry = Embedded::start();
    registry.register(1).await;
    let resolver = Resolver::builder(registry.addr()).idle(Duration::from_millis(100)).build();
    let following = resolver.follow("payroll").await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(resolver.stats().names, 1, "followed");
    drop(following);
    let dropped = async {
        while resolver.stats().names > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, dropped).await.unwrap();
    let watchers = async {
        // Waits until the registry notices the closed connection.
        while registry.native().status().await.unwrap().value.watchers > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, watchers).await.unwrap();
    assert_eq!(shown(&resolver.resolve("payroll").await.unwrap()), ["1"], "and asked for anew");
}

#[tokio::test]
async fn more_names_than_are_kept_are_asked_for_each_time() {
    let registry = Embedded::start();
    registry.register(1).await;
    let resolver = Resolver::builder(registry.addr()).max_names(0).build();
    for _ in 0..3 {
        assert_eq!(shown(&resolver.resolve("payroll").await.unwrap()), ["1"]);
    }
    assert_eq!((resolver.stats().asked, resolver.stats().names), (3, 0));
}

#[tokio::test]
async fn a_name_that_was_never_registered_is_told_as_such_and_not_kept() {
    let registry = Embedded::start();
    let resolver = Resolver::new(registry.addr());
    let error = resolver.resolve("payroll").await.unwrap_err();
    assert!(error.is_unknown_name(), "{error}");
    assert!(matches!(error, ConnectError::Lookup(LookupError::UnknownName { .. })));
    assert_eq!(resolver.stats().names, 0);
    registry.register(1).await;
    assert_eq!(shown(&resolver.resolve("payroll").await.unwrap()), ["1"]);
}

#[tokio::test]
async fn the_end_of_the_last_handle_is_the_end_of_all_tasks() {
    let registry = Embedded::start();
    registry.register(1).await;
    let resolver = Resolver::new(registry.addr());
    let mut following = resolver.follow("payroll").await.unwrap();
    until(&mut following, "a watch", is_watched).await;
    drop(resolver);
    let ended =
        tokio::time::timeout(PATIENCE, async { while following.changed().await.is_ok() {} });
    ended.await.unwrap();
}

/// The registry makes a watcher that does not read start again from a snapshot. The watcher ends
/// with the current table, and other watchers are not delayed.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_watcher_catches_up_and_slows_nobody() {
    const ROUNDS: usize = 6000;
    let registry = Embedded::start();
    let native = registry.native();
    let mut leases = Vec::new();
    for port in 1..=20 {
        leases.push(registry.register(port).await.lease);
    }
    let mut slow = native.watch(Some("payroll"), None).await.unwrap();
    let resolver = Resolver::new(registry.addr());
    let mut following = resolver.follow("payroll").await.unwrap();
    until(&mut following, "a watch", is_watched).await;
    // More data than the buffers of the sockets hold.
    let filler = "x".repeat(200);
    for round in 0..ROUNDS {
        let mut meta: BTreeMap<_, _> = (0..8).map(|i| (i.to_string(), filler.clone())).collect();
        meta.insert("round".into(), round.to_string());
        let details = DetailsUpdate { meta: Some(meta), ..DetailsUpdate::default() };
        native.update(leases[round % leases.len()], details).await.unwrap();
    }
    let last = (ROUNDS - 1).to_string();
    let is_last = |it: &rpyc_client::Instance| it.details.meta.get("round") == Some(&last);
    until(&mut following, "the last change", |it| it.instances.iter().any(is_last)).await;

    let listed = native.list(Query::default()).await.unwrap().value;
    let listed: BTreeMap<_, _> =
        listed[0].instances.iter().map(|it| (it.id.unwrap(), it.details.clone())).collect();
    let mut seen = BTreeMap::new();
    let caught_up = async {
        while seen != listed {
            match slow.changed().await.unwrap().kind {
                ChangeKind::Added(_, it) | ChangeKind::Updated(_, it) => {
                    seen.insert(it.id.unwrap(), it.details.clone());
                }
                ChangeKind::Removed(_, it) => drop(seen.remove(&it.id.unwrap())),
                ChangeKind::Reset => seen.clear(),
                _ => {}
            }
        }
    };
    assert!(tokio::time::timeout(PATIENCE, caught_up).await.is_ok(), "it does not catch up");
}
