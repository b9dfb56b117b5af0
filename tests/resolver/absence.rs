//! Registries that stop, return, lose their table, or know fewer instances than others.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpyc_client::native::Target;
use rpyc_client::resolver::{EventKind, Freshness};
use rpyc_client::{Registrar, Registries, Resolved, Resolver, Transport};
use rpyc_tests::{Daemon, PATIENCE, Scratch};

use super::{Quick, is_stale, is_watched, shown, until};
use crate::embedded::{Embedded, at, listener, registration};

#[tokio::test]
async fn servers_are_found_while_the_registry_is_gone_and_while_it_has_forgotten() {
    let registry = Embedded::start();
    let (_one, port) = listener().await;
    let (_two, other) = listener().await;
    registry.register(port).await;
    registry.register(other).await;
    let events = Arc::new(Mutex::new(Vec::new()));
    let hook = events.clone();
    let resolver = Resolver::builder(registry.addr())
        .quick()
        .on_event(move |event| hook.lock().unwrap().push(event.kind.clone()))
        .build();
    let mut following = resolver.follow("payroll").await.unwrap();
    until(&mut following, "a watch", is_watched).await;

    let place = registry.stop().await;
    until(&mut following, "no registry", is_stale).await;
    resolver.open("payroll").await.unwrap();
    assert_eq!(resolver.stats().stale, 1);

    let registry = Embedded::start_at(place);
    let held = until(&mut following, "an empty registry", |it| it.held_since.is_some()).await;
    assert_eq!(held.instances.len(), 2);
    assert!(shown(&held).iter().all(|it| it.ends_with("suspect")), "{held:?}");
    resolver.open("payroll").await.unwrap();
    // One instance is back, and the resolver still keeps the other.
    registry.register(port).await;
    let back = until(&mut following, "one is back", |it| {
        it.instances.iter().any(|it| it.state.as_str() == "passing")
    });
    assert_eq!(back.await.instances.len(), 2);
    registry.register(other).await;
    let all = until(&mut following, "all are back", |it| it.held_since.is_none()).await;
    assert_eq!(all.instances.len(), 2);
    assert_eq!(all.freshness, Freshness::Watched);
    let events = events.lock().unwrap();
    for expected in [EventKind::Stale, EventKind::Recovered, EventKind::HeldBack { instances: 2 }] {
        assert!(events.contains(&expected), "{events:?}");
    }
}

/// A stopped process keeps its connections open and says nothing, like a partition.
#[tokio::test]
async fn a_watched_registry_that_falls_silent_is_noticed_and_another_is_asked() {
    /// Twice the interval of its signs of life, and as long as it takes to ask again.
    const NOTICED: Duration = Duration::from_secs(33 + 4);

    let (silent, other) = (Daemon::start(&[]), Daemon::start(&[]));
    let [first, second] = [&silent, &other].map(|daemon| at(Transport::Udp, daemon.port()));
    for registry in [&first, &second] {
        let native = Registrar::new(registry.clone().into()).native();
        native.register(registration(1)).await.unwrap();
    }
    let stale = Arc::new(Mutex::new(0));
    let hook = stale.clone();
    let resolver = Resolver::builder(first.clone())
        .quick()
        .on_event(move |event| *hook.lock().unwrap() += usize::from(event.kind == EventKind::Stale))
        .build();
    let registries = Registries::any_of([first.clone(), second.clone()]);
    let with_other = Resolver::builder(registries).quick().build();
    let mut alone = resolver.follow("payroll").await.unwrap();
    let mut both = with_other.follow("payroll").await.unwrap();
    until(&mut alone, "a watch", is_watched).await;
    let watched = until(&mut both, "a watch", is_watched).await;
    assert_eq!(watched.registry, Some(first));

    silent.pause();
    let noticed = async {
        let stale = alone.wait_for(is_stale).await.unwrap().clone();
        assert_eq!(shown(&stale), ["1"], "and still usable");
        let moved = |it: &Arc<Resolved>| is_watched(it) && it.registry.as_ref() == Some(&second);
        assert_eq!(shown(&both.wait_for(moved).await.unwrap()), ["1"]);
    };
    tokio::time::timeout(NOTICED, noticed).await.unwrap();
    silent.resume();
    until(&mut alone, "the registry again", is_watched).await;
    assert_eq!(*stale.lock().unwrap(), 1);
}

#[tokio::test]
async fn the_last_good_answer_is_not_good_for_ever() {
    let registry = Embedded::start();
    registry.register(1).await;
    let resolver =
        Resolver::builder(registry.addr()).quick().stale(Duration::from_millis(300)).build();
    let mut following = resolver.follow("payroll").await.unwrap();
    registry.stop().await;
    until(&mut following, "too old", |it| it.freshness == Freshness::Lost).await;
    let error = resolver.resolve("payroll").await.unwrap_err();
    assert!(error.to_string().starts_with("cannot reach a registry: udp://127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn an_empty_answer_after_a_full_one_counts_after_the_grace() {
    let registry = Embedded::start();
    registry.register(1).await;
    let grace = Duration::from_millis(300);
    let resolver = Resolver::builder(registry.addr()).quick().grace(grace).build();
    let mut following = resolver.follow("payroll").await.unwrap();
    until(&mut following, "a watch", is_watched).await;
    let target = Target { name: Some("payroll".into()), ..Target::default() };
    registry.native().deregister(target).await.unwrap();
    let held = until(&mut following, "held back", |it| it.held_since.is_some()).await;
    assert_eq!(shown(&held), ["1 suspect"]);
    let gone = until(&mut following, "let go", |it| it.instances.is_empty()).await;
    assert_eq!(gone.held_since, None);
    assert!(resolver.resolve("payroll").await.unwrap_err().is_unknown_name());
    registry.register(2).await;
    until(&mut following, "another", |it| shown(it) == ["2"]).await;
}

#[tokio::test]
async fn of_several_registries_one_may_be_dead_and_the_next_takes_over() {
    let (first, second) = (Embedded::start(), Embedded::start());
    first.register(1).await;
    second.register(1).await;
    let dead = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let dead = at(Transport::Udp, dead.local_addr().unwrap().port());
    let registries = Registries::all_of([dead, first.addr(), second.addr()]);
    let resolver = Resolver::builder(registries).quick().build();
    let mut following = resolver.follow("payroll").await.unwrap();
    let found = until(&mut following, "a watch", is_watched).await;
    assert_eq!(found.registry, Some(first.addr()));
    first.stop().await;
    let moved = until(&mut following, "the second", |it| {
        it.registry == Some(second.addr()) && is_watched(it)
    });
    assert_eq!(shown(&*moved.await), ["1"], "nobody is in doubt");
}

#[tokio::test]
async fn a_registry_that_knows_nobody_does_not_hide_the_one_that_does() {
    let (first, second) = (Embedded::start(), Embedded::start());
    first.register(1).await;
    let registries = Registries::all_of([first.addr(), second.addr()]);
    let resolver = Resolver::builder(registries).quick().build();
    let mut following = resolver.follow("payroll").await.unwrap();
    until(&mut following, "a watch", is_watched).await;
    second.register(2).await;
    let target = Target { name: Some("payroll".into()), ..Target::default() };
    first.native().deregister(target).await.unwrap();
    until(&mut following, "the second's", |it| it.registry == Some(second.addr())).await;
}

/// The test kills and restarts the daemon repeatedly while clients use it.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_is_not_missed() {
    let (_server, port) = listener().await;
    let mut daemon = Daemon::start(&[]);
    let place = daemon.port();
    let registry = at(Transport::Udp, place);
    let native = Registrar::new(registry.clone().into()).native();
    native.register(registration(port)).await.unwrap();
    let resolver = Resolver::builder(registry).quick().build();
    let mut following = resolver.follow("payroll").await.unwrap();
    for round in 0..3 {
        until(&mut following, "a watch", is_watched).await;
        // Dropping the handle sends SIGKILL.
        drop(daemon);
        until(&mut following, "no daemon", is_stale).await;
        resolver.open("payroll").await.unwrap();
        daemon = Daemon::start_at(place, &[]);
        let back = until(&mut following, "a new daemon", is_watched).await;
        assert_eq!(back.instances.len(), 1, "round {round}: {back:?}");
        let again = tokio::time::timeout(PATIENCE, native.register(registration(port)));
        again.await.unwrap().unwrap();
        until(&mut following, "registered again", |it| it.held_since.is_none()).await;
    }
    assert_eq!(resolver.stats().stale, 3);
}

/// A daemon with a file restores its table, so it holds nothing back and the watch continues.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_with_a_file_is_taken_up_where_it_was_killed() {
    let scratch = Scratch::new();
    let arguments = ["--state-dir", scratch.path().to_str().unwrap()];
    let daemon = Daemon::start(&arguments);
    let place = daemon.port();
    let registry = at(Transport::Udp, place);
    let native = Registrar::new(registry.clone().into()).native();
    let lease = native.register(registration(1)).await.unwrap().value.lease;
    let resolver = Resolver::builder(registry).quick().build();
    let mut following = resolver.follow("payroll").await.unwrap();
    let before = until(&mut following, "a watch", is_watched).await;
    drop(daemon);
    until(&mut following, "no daemon", is_stale).await;
    let _daemon = Daemon::start_at(place, &arguments);
    let after = until(&mut following, "a new daemon", is_watched).await;
    assert_eq!((after.instances.len(), after.held_since), (1, None), "{after:?}");
    let (before, after) = (before.revision.unwrap(), after.revision.unwrap());
    assert!(after.store == before.store && !after.is_before(before), "{before} {after}");
    native.renew(lease).await.unwrap();
    until(&mut following, "renewed", |it| shown(it) == ["1"]).await;
    assert_eq!(resolver.stats().held_back, 0);
}
