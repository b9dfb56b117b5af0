//! RPyC's own registry, which returns only endpoints, and only in reply to a query.

use rpyc_client::resolver::Freshness;
use rpyc_client::{Port, Registrar, Resolver, ServiceName};
use rpyc_tests::{Control, Registry as _, Settings, Transport};

use super::{Quick, is_stale, shown, until};
use crate::embedded::at;

async fn polls(transport: Transport) {
    let control = Control::start(Settings::default());
    let transport_of = match transport {
        Transport::Udp => rpyc_client::Transport::Udp,
        Transport::Tcp => rpyc_client::Transport::Tcp,
    };
    let addr = at(transport_of, control.address(transport).port());
    let registrar = Registrar::new(addr.clone().into());
    let names = [ServiceName::new("payroll").unwrap()];
    registrar.register(&names, &Port::tcp(1).unwrap()).await.unwrap();
    let resolver = Resolver::builder(addr).quick().build();
    let mut following = resolver.follow("payroll").await.unwrap();
    assert_eq!(shown(&following.borrow()), ["1"]);
    assert_eq!(following.borrow().freshness, Freshness::Polled);
    registrar.register(&names, &Port::tcp(2).unwrap()).await.unwrap();
    until(&mut following, "another server", |it| shown(it) == ["1", "2"]).await;
    registrar.unregister(&Port::tcp(1).unwrap()).await.unwrap();
    until(&mut following, "one less", |it| shown(it) == ["2"]).await;
    registrar.unregister(&Port::tcp(2).unwrap()).await.unwrap();
    until(&mut following, "held back", |it| shown(it) == ["2 suspect"]).await;
    registrar.register(&names, &Port::tcp(2).unwrap()).await.unwrap();
    until(&mut following, "back", |it| shown(it) == ["2"]).await;
    drop(control);
    until(&mut following, "no registry", is_stale).await;
    assert_eq!(shown(&resolver.resolve("payroll").await.unwrap()), ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rpycs_own_registry_over_udp_is_polled() {
    polls(Transport::Udp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rpycs_own_registry_over_tcp_is_polled() {
    polls(Transport::Tcp).await;
}
