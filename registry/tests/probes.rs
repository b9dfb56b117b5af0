//! Probes of real sockets on loopback, by a registry in this process.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rpyc_client::Connection;
use rpyc_protocol::registry::native::{EventKind, Granted, Instance, Probes, Reply, State};
use rpyc_registry::{
    Config, FailingPolicy, Listener, ProbeConfig, Server, StoreError, TableConfig,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::asker::with_cookie;

/// Longer than any step of these tests takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

const FAST: &str = "interval=100ms,timeout=1s,failures=3,successes=2";

struct Registry {
    udp: SocketAddr,
    tcp: SocketAddr,
    _stop: oneshot::Sender<()>,
    _serving: JoinHandle<Result<bool, StoreError>>,
}

impl Registry {
    fn start(rule: &str) -> Self {
        Self::with(rule, FailingPolicy::Last)
    }

    fn with(rule: &str, failing: FailingPolicy) -> Self {
        let rules = vec![format!("{rule},{FAST}").parse().unwrap()];
        let server = Server::bind(&Config {
            hosts: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            port: 0,
            table: TableConfig { failing, ..TableConfig::default() },
            probes: ProbeConfig { rules, ..ProbeConfig::default() },
            ..Config::default()
        });
        let server = server.unwrap();
        let listeners = server.listeners().to_vec();
        let address = |is: fn(&Listener) -> bool| {
            listeners.iter().find(|listener| is(listener)).unwrap().address()
        };
        let (stop, stopped) = oneshot::channel();
        Self {
            udp: address(|listener| matches!(listener, Listener::Udp(_))),
            tcp: address(|listener| matches!(listener, Listener::Tcp(_))),
            _stop: stop,
            _serving: tokio::spawn(server.serve(async { drop(stopped.await) }, PATIENCE)),
        }
    }

    async fn connect(&self) -> Client {
        Client(BufReader::new(TcpStream::connect(self.tcp).await.unwrap()))
    }
}

/// A native connection.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn send(&mut self, mut request: Value) {
        request.as_object_mut().unwrap().insert("v".into(), json!(1));
        self.0.write_all(format!("{request}\n").as_bytes()).await.unwrap();
    }

    async fn next(&mut self) -> Reply {
        let mut line = String::new();
        timeout(PATIENCE, self.0.read_line(&mut line)).await.unwrap().unwrap();
        let reply = Reply::parse(line.as_bytes()).unwrap();
        assert_eq!(reply.error, None);
        reply
    }

    async fn ask(&mut self, request: Value) -> Reply {
        self.send(request).await;
        self.next().await
    }

    async fn register(&mut self, name: &str, port: u16) -> Granted {
        let register = json!({"op": "register", "names": [name], "port": port});
        self.ask(register).await.lease.unwrap()
    }

    async fn instances(&mut self, request: Value) -> Vec<Instance> {
        let services = self.ask(request).await.services.unwrap();
        services.into_iter().flat_map(|service| service.instances).collect()
    }

    async fn probes(&mut self) -> Probes {
        self.ask(json!({"op": "status"})).await.status.unwrap().probes.unwrap()
    }

    /// Waits until the counters of the probes meet `is_so`.
    async fn wait_for_probes(&mut self, is_so: impl Fn(&Probes) -> bool) -> Probes {
        let waiting = async {
            loop {
                let probes = self.probes().await;
                if is_so(&probes) {
                    return probes;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap()
    }

    /// Waits, as a watcher, until an instance is in this state.
    async fn wait_for(&mut self, port: u16, state: State) -> Instance {
        loop {
            let event = self.next().await.event.unwrap();
            let instance = event.instance.filter(|it| it.port.to_tcp() == Some(port));
            match (event.kind, instance) {
                (EventKind::Removed, Some(_)) => unreachable!("it was never removed"),
                (_, Some(instance)) if instance.state == state => return instance,
                _ => {}
            }
        }
    }
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port without a listener.
async fn nothing() -> u16 {
    listener().await.1
}

/// Accepts and counts connections.
fn counting(listener: TcpListener) -> Arc<AtomicUsize> {
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    accepted
}

#[tokio::test]
async fn a_server_that_goes_is_failing_and_answered_last_and_passes_when_it_is_back() {
    let registry = Registry::start("tcp");
    let mut client = registry.connect().await;
    let (mut watcher, mut back) = (registry.connect().await, None);
    watcher.send(json!({"op": "watch", "glob": "a"})).await;
    let ((going, port), (_staying, other)) = (listener().await, listener().await);
    let lease = client.register("a", port).await;
    client.register("a", other).await;
    assert_eq!(lease.unreachable, None);
    client.wait_for_probes(|probes| probes.done >= 4).await;
    let states: Vec<_> =
        client.instances(json!({"op": "list"})).await.iter().map(|it| it.state).collect();
    assert_eq!(states, [State::Passing; 2]);

    drop(going);
    let failing = watcher.wait_for(port, State::Failing).await;
    assert_eq!(failing.id, lease.instance);
    for _ in 0..4 {
        let told = client.instances(json!({"op": "resolve", "name": "a"})).await;
        let ports: Vec<_> = told.iter().map(|it| it.port.to_tcp().unwrap()).collect();
        assert_eq!(ports, [other, port], "last, however often it is asked");
    }
    let described = client.instances(json!({"op": "describe", "instance": lease.instance})).await;
    let why = described.first().unwrap().why.clone().unwrap();
    assert!(why.starts_with(&format!("connection refused by 127.0.0.1:{port}, ")), "{why}");
    assert!(why.contains(" failures in "), "{why}");
    let renewed = client.ask(json!({"op": "renew", "lease": lease.lease})).await.lease.unwrap();
    let unreachable = renewed.unreachable.unwrap();
    assert_eq!(unreachable, format!("connection refused by 127.0.0.1:{port}"));
    let probes = client.probes().await;
    assert!(probes.failed >= 3 && probes.done > probes.failed, "{probes:?}");
    assert_eq!((probes.instances, probes.holding_back), (2, false));
    let states = client.ask(json!({"op": "status"})).await.status.unwrap();
    assert_eq!((states.states.get("failing"), states.watchers), (Some(&1), 1));

    let place = (Ipv4Addr::LOCALHOST, port);
    while back.is_none() {
        back = TcpListener::bind(place).await.ok();
    }
    let passing = watcher.wait_for(port, State::Passing).await;
    assert_eq!((passing.id, passing.why), (lease.instance, None));

    client.ask(json!({"op": "deregister", "lease": lease.lease})).await;
    client.wait_for_probes(|probes| probes.instances == 1).await;
}

#[tokio::test]
async fn a_failing_server_can_be_hidden() {
    let registry = Registry::with("tcp", FailingPolicy::Hidden);
    let (mut client, mut watcher) = (registry.connect().await, registry.connect().await);
    watcher.send(json!({"op": "watch", "glob": "a"})).await;
    let port = nothing().await;
    client.register("a", port).await;
    watcher.wait_for(port, State::Failing).await;
    assert!(client.instances(json!({"op": "resolve", "name": "a"})).await.is_empty());
    assert_eq!(client.instances(json!({"op": "list"})).await.len(), 1);
}

#[tokio::test]
async fn a_registrant_is_told_at_once_which_address_cannot_be_reached() {
    let registry = Registry::start("tcp,service=a*");
    let mut client = registry.connect().await;
    let (port, (_listener, open)) = (nothing().await, listener().await);
    let told = format!("connection refused by 127.0.0.1:{port}");
    assert_eq!(client.register("a", port).await.unreachable, Some(told.clone()));
    assert_eq!(client.register("a", open).await.unreachable, None);
    assert_eq!(client.register("b", port).await.unreachable, None, "no rule speaks of it");
    let addresses = [format!("127.0.0.1:{open}"), format!("127.0.0.1:{port}")];
    let register = json!({"op": "register", "names": ["a2"], "port": 1, "addresses": addresses});
    let lease = client.ask(register).await.lease.unwrap();
    assert_eq!(lease.unreachable, Some(told), "of several");

    // Over UDP too.
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(registry.udp).await.unwrap();
    let mut answer = [0; 2000];
    let port = nothing().await;
    let mut register = json!({"v": 1, "op": "register", "names": ["a"], "port": port}).to_string();
    let lease = loop {
        socket.send(register.as_bytes()).await.unwrap();
        let len = timeout(PATIENCE, socket.recv(&mut answer)).await.unwrap().unwrap();
        let reply = answer.get(..len).unwrap();
        match with_cookie(register.as_bytes(), reply) {
            Some(again) => register = String::from_utf8(again).unwrap(),
            None => break Reply::parse(reply).unwrap().lease.unwrap(),
        }
    };
    assert!(lease.unreachable.is_some(), "{lease:?}");
}

#[tokio::test]
async fn what_no_rule_speaks_of_is_left_alone() {
    let registry = Registry::start("tcp,service=pay*");
    let mut client = registry.connect().await;
    let ((probed, probed_port), (left_alone, other)) = (listener().await, listener().await);
    let (probed, left_alone) = (counting(probed), counting(left_alone));
    client.register("payroll", probed_port).await;
    client.register("other", other).await;
    client.wait_for_probes(|probes| probes.done >= 5).await;
    assert!(probed.load(Ordering::Relaxed) >= 5);
    assert_eq!(left_alone.load(Ordering::Relaxed), 0);
    assert_eq!(client.probes().await.instances, 1);
}

/// Answers RPyC on the first of every four connections, and closes the others. A probe without an
/// answer tries the other dialect unless it knows which to speak, so that two of three probes fail.
#[tokio::test]
async fn a_flapping_server_stays_as_it_is() {
    let registry = Registry::start("rpyc");
    let mut client = registry.connect().await;
    let (listener, port) = listener().await;
    tokio::spawn(async move {
        // The connection of the check at the registration.
        drop(listener.accept().await.unwrap());
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            if number % 4 == 0 {
                let (served, driver) = Connection::builder().accept(stream);
                tokio::spawn(async move { (driver.await, served) });
            }
        }
    });
    client.register("a", port).await;
    let probes = client.wait_for_probes(|probes| probes.done >= 12).await;
    assert!(probes.failed >= 7 && probes.failed < probes.done, "{probes:?}");
    let instances = client.instances(json!({"op": "list"})).await;
    assert_eq!(instances.first().unwrap().state, State::Passing);
}

#[tokio::test]
async fn when_all_seem_to_fail_at_once_it_is_not_believed_at_once() {
    let registry = Registry::start("tcp");
    let mut client = registry.connect().await;
    let mut going = Vec::new();
    for _ in 0..12 {
        let (listener, port) = listener().await;
        client.register("a", port).await;
        going.push(listener);
    }
    client.wait_for_probes(|probes| probes.done >= 24 && probes.failed == 0).await;
    drop(going);
    let probes = client.wait_for_probes(|probes| probes.failed >= 60).await;
    assert!(probes.holding_back);
    let instances = client.instances(json!({"op": "list"})).await;
    let failing = instances.iter().filter(|it| it.state == State::Failing).count();
    assert_eq!(failing, 0, "for a minute at most");
}
