//! The resolver with scripted registries.

use std::sync::atomic::{AtomicU64, Ordering};

use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::{self, Operation, Reply, Request, Revision, StoreId};

use super::*;
use crate::scripted::Scripted;

fn revision(number: u64) -> Revision {
    Revision { store: StoreId::new(7), number }
}

/// Answers that name `port` at revision `number` of a table, every time.
fn answer(request: &[u8], number: u64, port: u16) -> Option<Vec<Vec<u8>>> {
    let Operation::Resolve { name, .. } = Request::parse(request).ok()?.operation else {
        // A watch is hung up on, so that the registry is asked again.
        return Some(vec![]);
    };
    let instances = vec![native::Instance::at("127.0.0.1", Port::tcp(port).unwrap())];
    let services = vec![native::Service { name, instances }];
    let reply = Reply { revision: Some(revision(number)), ..Reply::of(services) };
    Some(vec![reply.to_bytes(), b"\n".to_vec()])
}

/// One of several registries behind one address may lag behind the others.
#[tokio::test]
async fn a_registry_that_goes_back_in_time_is_not_believed() {
    let number = Arc::new(AtomicU64::new(5));
    let told = number.clone();
    let registry = Scripted::tcp(move |request| {
        let number = told.load(Ordering::SeqCst);
        answer(request, number, u16::try_from(number).unwrap())
    })
    .await;
    let resolver = Resolver::builder(registry.addr()).poll(Duration::from_millis(20)).build();
    let mut following = resolver.follow("payroll").await.unwrap();
    let port = |resolved: &Resolved| resolved.instances[0].endpoint.port.to_tcp();
    assert_eq!(port(&following.borrow_and_update()), Some(5));

    number.store(4, Ordering::SeqCst);
    let stale = following.wait_for(|it| matches!(it.freshness, Freshness::Stale { .. }));
    let stale = stale.await.unwrap().clone();
    assert_eq!((port(&stale), stale.revision), (Some(5), Some(revision(5))));
    assert!(resolver.stats().refused >= 1);
    assert_eq!(port(&resolver.resolve("payroll").await.unwrap()), Some(5));

    number.store(6, Ordering::SeqCst);
    let newer = following.wait_for(|it| port(it) == Some(6)).await.unwrap().clone();
    assert_eq!(newer.freshness, Freshness::Polled);
}

/// One answer with a revision that the registry never had.
#[tokio::test]
async fn a_made_up_revision_does_not_keep_out_the_real_answers() {
    let number = Arc::new(AtomicU64::new(u64::MAX));
    let told = number.clone();
    let registry = Scripted::tcp(move |request| {
        let number = told.load(Ordering::SeqCst);
        answer(request, number, u16::try_from(number).unwrap_or(666))
    })
    .await;
    let resolver = Resolver::builder(registry.addr()).poll(Duration::from_millis(20)).build();
    let mut following = resolver.follow("payroll").await.unwrap();
    assert_eq!(following.borrow_and_update().revision, Some(revision(u64::MAX)));
    number.store(7, Ordering::SeqCst);
    let real = following.wait_for(|it| it.revision == Some(revision(7))).await.unwrap().clone();
    assert_eq!(real.freshness, Freshness::Polled);
    assert_eq!(real.instances[0].endpoint.port.to_tcp(), Some(7));
    assert_eq!(resolver.stats().refused, 0);
}

/// A registry that says nonsense, or nothing, is one that does not answer.
#[tokio::test]
async fn nonsense_is_no_answer() {
    let is_mad = Arc::new(AtomicU64::new(0));
    let mad = is_mad.clone();
    let registry = Scripted::tcp(move |request| match mad.load(Ordering::SeqCst) {
        0 => answer(request, 1, 1),
        1 => Some(vec![b"{\"v\":1,\"services\":7}\n".to_vec()]),
        _ => Some(vec![b"\xff\xff\xff".to_vec()]),
    })
    .await;
    let resolver = Resolver::builder(registry.addr())
        .poll(Duration::from_millis(20))
        .timeout(Duration::from_millis(500))
        .build();
    let mut following = resolver.follow("payroll").await.unwrap();
    for kind in [1, 2] {
        is_mad.store(kind, Ordering::SeqCst);
        let stale = following.wait_for(|it| matches!(it.freshness, Freshness::Stale { .. }));
        assert_eq!(stale.await.unwrap().instances.len(), 1);
        is_mad.store(0, Ordering::SeqCst);
        following.wait_for(|it| it.freshness == Freshness::Polled).await.unwrap();
    }
}

#[test]
fn futures_may_move_between_threads() {
    fn check(_: impl Send) {}
    let resolver = Resolver::new(Registries::all_of([]));
    check(resolver.resolve("payroll"));
    check(resolver.connect("payroll"));
    check(resolver.follow("payroll"));
}
