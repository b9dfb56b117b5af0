//! Connecting to one of several servers.

use std::collections::BTreeMap;

use rpyc_client::native::{Details, Registration, Target};
use rpyc_client::{ConnectError, Connection, LoadBalancing, Resolver, blocking};
use rpyc_server::{Server, service};
use rpyc_tests::PATIENCE;

use crate::embedded::{Embedded, deserted, listener, registration};

#[tokio::test]
async fn connections_are_counted_as_long_as_they_are_open() {
    let registry = Embedded::start();
    let servers = [listener().await, listener().await];
    for (_, port) in &servers {
        registry.register(*port).await;
    }
    let resolver =
        Resolver::builder(registry.addr()).load_balancing(LoadBalancing::LeastConnections).build();
    let mut open = BTreeMap::<_, Vec<_>>::new();
    for _ in 0..6 {
        let stream = resolver.open("payroll").await.unwrap();
        open.entry(stream.endpoint().to_string()).or_default().push(stream);
    }
    assert!(open.values().all(|streams| streams.len() == 3), "{open:?}");
    // The next connections go to the server with free capacity.
    let (freed, _) = open.pop_first().unwrap();
    for _ in 0..3 {
        let stream = resolver.open("payroll").await.unwrap();
        assert_eq!(stream.endpoint().to_string(), freed);
        open.entry(freed.clone()).or_default().push(stream);
    }
    assert_eq!(resolver.stats().connected, 9);
}

struct Payroll;

#[service]
impl Payroll {
    fn pay(&self) -> i64 {
        4200
    }
}

#[tokio::test]
async fn a_conversation_is_counted_until_it_ends() {
    let registry = Embedded::start();
    let serve = || async {
        let server = Server::builder(Payroll).bind("127.0.0.1:0").listen().await.unwrap();
        let port = server.local_addr().unwrap().port();
        tokio::spawn(server.serve(std::future::pending::<()>()));
        port
    };
    for port in [serve().await, serve().await] {
        registry.register(port).await;
    }
    let resolver =
        Resolver::builder(registry.addr()).load_balancing(LoadBalancing::LeastConnections).build();
    let one = resolver.connect("payroll").await.unwrap();
    let two = resolver.connect("payroll").await.unwrap();
    assert_ne!(one.peer_addr(), two.peer_addr());
    assert_eq!(one.root().await.unwrap().call::<i64>("pay", ()).await.unwrap(), 4200);
    let freed = two.peer_addr();
    two.close().await;
    drop(two);
    // The connection's task ends shortly after its handle is dropped.
    let next = async {
        loop {
            let next = resolver.connect("payroll").await.unwrap();
            if next.peer_addr() == freed {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.unwrap();

    let name = rpyc_client::ServiceName::new("payroll").unwrap();
    let lasting = Connection::builder().reconnecting_through(&resolver, name);
    let asked = resolver.stats().asked;
    assert_eq!(lasting.call::<i64>("pay", ()).await.unwrap(), 4200);
    assert_eq!(resolver.stats().asked, asked, "from memory");
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_without_async_use_it_as_well() {
    let registry = Embedded::start();
    let server = Server::builder(Payroll).bind("127.0.0.1:0").listen().await.unwrap();
    registry.register(server.local_addr().unwrap().port()).await;
    tokio::spawn(server.serve(std::future::pending::<()>()));
    let resolver = Resolver::new(registry.addr());
    let calling = tokio::task::spawn_blocking(move || {
        let resolver = blocking::Resolver::from(resolver);
        let name = rpyc_client::ServiceName::new("payroll").unwrap();
        let through = Connection::builder().connect_through_blocking(&resolver, &name).unwrap();
        for connection in [resolver.connect("payroll").unwrap(), through] {
            assert_eq!(connection.root().unwrap().call::<i64>("pay", ()).unwrap(), 4200);
        }
        assert_eq!(resolver.resolve("payroll").unwrap().instances.len(), 1);
        assert_eq!(resolver.as_async().stats().asked, 1);
    });
    calling.await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_be_connected_to_is_tried_last_for_a_while() {
    let registry = Embedded::start();
    let (_kept, dead) = deserted();
    let (_listener, alive) = listener().await;
    let heavy = Details { weight: Some(1000), ..Details::default() };
    let registration = Registration { details: heavy, ..registration(dead) };
    registry.native().register(registration).await.unwrap();
    registry.register(alive).await;
    let resolver = Resolver::new(registry.addr());
    for _ in 0..20 {
        let stream = resolver.open("payroll").await.unwrap();
        assert_eq!(stream.endpoint().port.to_tcp(), Some(alive));
    }
    let stats = resolver.stats();
    assert_eq!((stats.ejected, stats.failed), (1, 1), "{stats:?}");
}

#[tokio::test]
async fn another_address_of_the_same_server_will_do() {
    let registry = Embedded::start();
    let (_kept, dead) = deserted();
    let (_listener, alive) = listener().await;
    let addresses = [dead, alive].map(|port| format!("127.0.0.1:{port}")).to_vec();
    let registration = Registration { addresses, ..registration(dead) };
    registry.native().register(registration).await.unwrap();
    let resolver = Resolver::new(registry.addr());
    let stream = resolver.open("payroll").await.unwrap();
    assert_eq!(stream.endpoint().port.to_tcp(), Some(alive));
    assert_eq!(resolver.stats().failed, 0);
}

#[tokio::test]
async fn errors_tell_apart_what_is_wrong() {
    let registry = Embedded::start();
    let resolver = Resolver::new(registry.addr());
    let error = resolver.connect("payroll").await.unwrap_err();
    assert!(error.to_string().starts_with("no server of PAYROLL is registered: "), "{error}");

    let (_kept, dead) = deserted();
    let lease = registry.register(dead).await.lease;
    let error = resolver.connect("payroll").await.unwrap_err();
    assert!(error.is_all_failed(), "{error}");
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{dead} (Connection refused")),
        "{error}"
    );

    let mut following = resolver.follow("payroll").await.unwrap();
    super::until(&mut following, "a watch", super::is_watched).await;
    let target = Target { lease: Some(lease), ..Target::default() };
    registry.native().drain(target).await.unwrap();
    let draining =
        |it: &std::sync::Arc<rpyc_client::Resolved>| super::shown(it)[0].ends_with("draining");
    super::until(&mut following, "draining", draining).await;
    let error = resolver.connect("payroll").await.unwrap_err();
    assert!(matches!(error, ConnectError::AllDraining { instances: 1, .. }), "{error}");

    let gone = Resolver::new(registry.addr());
    registry.stop().await;
    let error = gone.connect("payroll").await.unwrap_err();
    assert!(error.to_string().starts_with("cannot reach a registry: "), "{error}");
}
