//! Servers that register with real registries, by leases where possible or in RPyC's protocol.

use std::net::Ipv4Addr;
use std::time::Duration;

use rpyc_client::native::{ChangeKind, State, Target};
use rpyc_client::{Connection, Instance, Port, Registrar, Registries, ServiceName};
use rpyc_server::announcer::Status;
use rpyc_server::{Announcer, AnnouncerBuilder, AnnouncerHandle, Server, service};
use rpyc_tests::{Control, PATIENCE, Registry as _, Settings, Transport};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::embedded::{Embedded, at};

/// A running announcer.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<bool>,
    status: watch::Receiver<Vec<Status>>,
    handle: AnnouncerHandle,
}

impl Running {
    fn start(announcer: Announcer) -> Self {
        let (status, handle) = (announcer.status(), announcer.handle());
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: tokio::spawn(announcer.run(stopped)), status, handle }
    }

    async fn until(&mut self, what: &str, wanted: impl FnMut(&Vec<Status>) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, self.status.wait_for(wanted)).await;
        let is_so = waited.is_ok_and(|waited| waited.is_ok());
        assert!(is_so, "not within {PATIENCE:?}: {what}: {:?}", self.status.borrow());
    }

    async fn stop(self) -> bool {
        self.stop.send(()).unwrap();
        self.task.await.unwrap()
    }
}

fn builder(registries: impl Into<Registries>) -> AnnouncerBuilder {
    let names = ["payroll", "wages"].map(|name| ServiceName::new(name).unwrap());
    Announcer::builder(names, Port::tcp(18861).unwrap(), registries.into())
}

/// Returns the instances of the name as the native protocol describes them.
async fn instances(registry: &Embedded) -> Vec<Instance> {
    let target = Target { name: Some("payroll".into()), ..Target::default() };
    match registry.native().describe(target).await {
        Ok(told) => told.value.into_iter().flat_map(|it| it.instances).collect(),
        Err(error) if error.is_unknown_target() => Vec::new(),
        Err(error) => panic!("{error}"),
    }
}

/// Waits until the registry reports the wanted instances.
async fn until_told(registry: &Embedded, what: &str, wanted: impl Fn(&[Instance]) -> bool) {
    let told = async {
        while !wanted(&instances(registry).await) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, told).await.is_ok(), "not within {PATIENCE:?}: {what}");
}

#[tokio::test]
async fn a_registry_that_grants_leases_is_told_all() {
    let registry = Embedded::start();
    let announcer = builder(registry.addr())
        .tag("fast")
        .meta("os", "linux")
        .weight(7)
        .zone("eu-1")
        .ttl(Duration::from_secs(30))
        .address(Ipv4Addr::new(10, 0, 0, 7))
        .address("[2001:db8::7]:99".parse::<std::net::SocketAddr>().unwrap());
    let mut running = Running::start(announcer.build());
    running.until("a lease", |all| all[0].is_acknowledged()).await;
    assert!(running.status.borrow()[0].is_native);
    let [it] = &instances(&registry).await[..] else { panic!("one instance") };
    assert_eq!(it.details.tags, ["fast".to_owned()].into());
    assert_eq!(it.details.meta, [("os".to_owned(), "linux".to_owned())].into());
    assert_eq!((it.details.weight, it.details.zone.as_deref()), (Some(7), Some("eu-1")));
    assert_eq!((it.ttl, it.is_legacy), (Some(Duration::from_secs(30)), false));
    let mut addresses: Vec<_> = it.endpoints().map(ToString::to_string).collect();
    addresses.sort();
    assert_eq!(addresses, ["10.0.0.7:18861", "[2001:db8::7]:99"]);
    assert!(running.stop().await);
    assert!(instances(&registry).await.is_empty());
}

#[tokio::test]
async fn a_lease_is_renewed_and_one_that_was_forgotten_is_begun_again() {
    let registry = Embedded::start();
    let often = Duration::from_millis(30);
    let announcer = builder(registry.addr()).interval(often).timeout(Duration::from_secs(1));
    let mut running = Running::start(announcer.build());
    running.until("a lease", |all| all[0].is_acknowledged()).await;
    let first = instances(&registry).await[0].id;
    let target = Target { instance: first, ..Target::default() };
    registry.native().deregister(target).await.unwrap();
    until_told(&registry, "a new lease", |all| all.len() == 1 && all[0].id != first).await;

    // The restarted registry has an empty table.
    let place = registry.stop().await;
    running.until("no registry", |all| all[0].is_failing()).await;
    let registry = Embedded::start_at(place);
    running.until("a lease again", |all| all[0].is_acknowledged()).await;
    assert_eq!(instances(&registry).await.len(), 1);
    assert!(running.stop().await);
    assert!(instances(&registry).await.is_empty());
}

#[tokio::test]
async fn a_start_anew_replaces_the_lease_of_the_start_before() {
    let registry = Embedded::start();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut running = Running::start(builder(registry.addr()).build());
        running.until("a lease", |all| all[0].is_acknowledged()).await;
        let [it] = &instances(&registry).await[..] else { panic!("one instance") };
        ids.push(it.id);
        // Aborting the task stands for a killed server: it does not deregister.
        running.task.abort();
    }
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn what_is_said_once_takes_a_lease_only_if_it_must() {
    let registry = Embedded::start();
    builder(registry.addr()).build().announce_once().await.remove(0).unwrap();
    assert!(instances(&registry).await[0].is_legacy);
    let registrar = Registrar::new(registry.addr().into());
    registrar.unregister(&Port::tcp(18861).unwrap()).await.unwrap();
    assert!(instances(&registry).await.is_empty(), "it can be taken back without a lease");
    builder(registry.addr()).tag("x").build().announce_once().await.remove(0).unwrap();
    assert!(instances(&registry).await[0].details.tags.contains("x"));
}

#[tokio::test]
async fn what_a_registry_will_not_take_is_told_and_not_hidden() {
    let registry = Embedded::start();
    let mut announcer = builder(registry.addr());
    for tag in 0..100 {
        announcer = announcer.tag(tag.to_string());
    }
    let mut running = Running::start(announcer.build());
    running.until("a refusal", |all| all[0].is_failing()).await;
    let told = running.status.borrow()[0].state.to_string();
    assert!(told.contains("more than 32 tags"), "{told}");
    running.stop().await;
    assert!(instances(&registry).await.is_empty());
}

#[tokio::test]
async fn draining_is_told_and_taken_back_and_outlasts_a_new_lease() {
    let registry = Embedded::start();
    let often = Duration::from_millis(30);
    let mut running = Running::start(builder(registry.addr()).interval(often).build());
    running.until("a lease", |all| all[0].is_acknowledged()).await;
    running.handle.drain().await;
    assert_eq!(instances(&registry).await[0].state, State::Draining);
    let first = instances(&registry).await[0].id;
    let target = Target { instance: first, ..Target::default() };
    registry.native().deregister(target).await.unwrap();
    let is_drained_anew =
        |all: &[Instance]| all.iter().any(|it| it.id != first && it.state == State::Draining);
    until_told(&registry, "a new lease that is draining", is_drained_anew).await;
    running.handle.undrain().await;
    assert_eq!(instances(&registry).await[0].state, State::Passing);
    running.stop().await;
}

async fn speaks_legacy(transport: Transport) {
    let control = Control::start(Settings::default());
    let port = control.address(transport).port();
    let addr = match transport {
        Transport::Udp => at(rpyc_client::Transport::Udp, port),
        Transport::Tcp => at(rpyc_client::Transport::Tcp, port),
    };
    let announcer = builder(addr.clone()).tag("lost").interval(Duration::from_millis(50));
    let mut running = Running::start(announcer.build());
    running.until("a registration", |all| all[0].is_acknowledged()).await;
    assert!(!running.status.borrow()[0].is_native);
    let (registrar, name) = (Registrar::new(addr.into()), ServiceName::new("payroll").unwrap());
    assert_eq!(registrar.discover(&name).await.unwrap().len(), 1);
    running.handle.drain().await;
    assert!(registrar.discover(&name).await.unwrap_err().is_unknown_name(), "gone, for new ones");
    running.handle.undrain().await;
    assert_eq!(registrar.discover(&name).await.unwrap().len(), 1);
    assert!(running.stop().await);
    assert!(registrar.discover(&name).await.unwrap_err().is_unknown_name());
}

#[tokio::test(flavor = "multi_thread")]
async fn rpycs_own_registry_is_told_in_its_own_words_over_udp() {
    speaks_legacy(Transport::Udp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rpycs_own_registry_is_told_in_its_own_words_over_tcp() {
    speaks_legacy(Transport::Tcp).await;
}

struct Payroll;

#[service]
impl Payroll {
    fn pay(&self) -> i64 {
        4200
    }
}

/// A draining server still accepts clients that resolved it earlier. New queries do not return it.
#[tokio::test]
async fn a_server_drains_before_it_ends() {
    let registry = Embedded::start();
    let server = Server::builder(Payroll)
        .bind("127.0.0.1:0")
        .register_with(registry.addr())
        .zone("eu-1")
        .notice(Duration::from_secs(3600))
        .listen()
        .await
        .unwrap();
    let address = server.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(stopped));
    until_told(&registry, "a server", |all| all.len() == 1).await;
    assert_eq!(instances(&registry).await[0].details.zone.as_deref(), Some("eu-1"));
    stop.send(()).unwrap();
    until_told(&registry, "draining", |all| all[0].state == State::Draining).await;
    let late = Connection::builder().connect(address).await.unwrap();
    assert_eq!(late.root().await.unwrap().call::<i64>("pay", ()).await.unwrap(), 4200);
    serving.abort();
}

#[tokio::test]
async fn a_server_that_has_drained_is_gone_everywhere() {
    let registry = Embedded::start();
    let server = Server::builder(Payroll)
        .bind("127.0.0.1:0")
        .register_with(registry.addr())
        .notice(Duration::from_millis(50));
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(stopped));
    until_told(&registry, "a server", |all| all.len() == 1).await;
    let mut watch = registry.native().watch(Some("payroll"), None).await.unwrap();
    stop.send(()).unwrap();
    let mut seen = Vec::new();
    while seen.last() != Some(&"gone") {
        let change = tokio::time::timeout(PATIENCE, watch.changed()).await.unwrap().unwrap();
        match change.kind {
            ChangeKind::Added(..) => seen.push("there"),
            ChangeKind::Updated(_, it) => {
                assert_eq!(it.state, State::Draining);
                seen.push("draining");
            }
            ChangeKind::Removed(..) => seen.push("gone"),
            _ => {}
        }
    }
    assert_eq!(seen, ["there", "draining", "gone"]);
    let ended = serving.await.unwrap().unwrap();
    assert!(ended.is_withdrawn && ended.is_drained, "{ended:?}");
}

#[tokio::test]
async fn an_exclusive_name_is_taken_over_when_it_becomes_free() {
    let registry = Embedded::start();
    let exclusive = |port| {
        let name = ServiceName::new("payroll").unwrap();
        let registries = Registries::from(registry.addr());
        let announcer = Announcer::builder([name], Port::tcp(port).unwrap(), registries);
        Running::start(announcer.exclusive().interval(Duration::from_secs(1)).build())
    };
    let mut first = exclusive(1);
    first.until("held", |all| all[0].is_acknowledged()).await;
    let mut second = exclusive(2);
    second.until("refused", |all| all[0].is_failing()).await;
    assert_eq!(instances(&registry).await.len(), 1);
    assert!(first.stop().await);
    second.until("taken over", |all| all[0].is_acknowledged()).await;
    assert_eq!(instances(&registry).await[0].endpoint.port.to_tcp(), Some(2));
    assert!(second.stop().await);
}

#[tokio::test]
async fn rpycs_own_registry_is_not_told_of_what_is_exclusive() {
    let registry = Control::start(Settings::default());
    let port = registry.address(Transport::Udp).port();
    let addr = at(rpyc_client::Transport::Udp, port);
    let mut running = Running::start(builder(addr.clone()).exclusive().build());
    running.until("refused", |all| all[0].is_failing()).await;
    let asked = Registrar::new(addr.into()).discover(&ServiceName::new("payroll").unwrap()).await;
    assert!(asked.is_err(), "{asked:?}");
    running.stop().await;
}

#[tokio::test]
async fn a_lease_ends_over_udp_even_without_any_grace() {
    let registry = Embedded::start();
    let mut running = Running::start(builder(registry.addr()).grace(Duration::ZERO).build());
    running.until("a lease", |all| all[0].is_acknowledged()).await;
    running.stop().await;
    until_told(&registry, "nothing", |all| all.is_empty()).await;
}
