//! The registry in this process, over real sockets on loopback.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::{Names, Port, Request, native, reply};
use rpyc_registry::{
    Change, Config, Host, Limits, Listener, MemoryStore, Opened, Origin, Progress, Record, Server,
    Store, StoreError, TableConfig, Ticket,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than any step of these tests takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough to see that no answer comes. If it is too short, a test passes that should fail.
const SILENCE: Duration = Duration::from_millis(300);

struct Running {
    udp: SocketAddr,
    tcp: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<bool, StoreError>>,
}

impl Running {
    fn start(config: Config) -> Self {
        Self::with(|config| Server::bind(config).unwrap(), config)
    }

    fn with(bind: impl FnOnce(&Config) -> Server, config: Config) -> Self {
        let hosts = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let server = bind(&Config { hosts, port: 0, ..config });
        let listeners = server.listeners().to_vec();
        let address = |is: fn(&Listener) -> bool| {
            listeners.iter().find(|listener| is(listener)).unwrap().address()
        };
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { drop(stopped.await) };
        Self {
            udp: address(|listener| matches!(listener, Listener::Udp(_))),
            tcp: address(|listener| matches!(listener, Listener::Tcp(_))),
            stop,
            serving: tokio::spawn(server.serve(shutdown, Duration::from_secs(5))),
        }
    }

    async fn stop(self) -> bool {
        drop(self.stop);
        timeout(PATIENCE, self.serving).await.unwrap().unwrap().unwrap()
    }

    async fn datagrams(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(self.udp).await.unwrap();
        socket
    }

    async fn connection(&self) -> TcpStream {
        TcpStream::connect(self.tcp).await.unwrap()
    }
}

fn register(names: &[&str], port: u16) -> Vec<u8> {
    let names: Vec<_> = names.iter().map(|name| ServiceName::new(name).unwrap()).collect();
    let names = Names::from(&names[..]);
    encoded(&Request::Register { names, port: Port::tcp(port).unwrap() })
}

fn encoded(request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode(&mut bytes).unwrap();
    bytes
}

async fn answer(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let len = timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
    buffer.truncate(len);
    buffer
}

async fn ask(socket: &UdpSocket, request: &[u8]) -> Vec<u8> {
    socket.send(request).await.unwrap();
    answer(socket).await
}

/// A native request with the cookie that a socket needs for a change.
async fn with_cookie(socket: &UdpSocket, request: &str) -> String {
    let pong = ask(socket, format!("{:99}", r#"{"v":1,"op":"ping"}"#).as_bytes()).await;
    let cookie = native::Reply::parse(&pong).unwrap().cookie.unwrap();
    request.replacen('{', &format!(r#"{{"cookie":"{cookie}","#), 1)
}

async fn to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    bytes
}

/// A store whose changes become durable when the test says so.
#[derive(Debug)]
struct SlowStore {
    last: Ticket,
    progress: watch::Sender<Progress>,
}

impl Store for SlowStore {
    fn kind(&self) -> &'static str {
        "slow"
    }

    fn reserve(&mut self, _: u64) {}

    fn ran(&mut self, _: Duration) {}

    fn record(&mut self, _: Change) -> Ticket {
        self.last = self.last.next();
        self.last
    }

    fn last_ticket(&self) -> Ticket {
        self.last
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }
}

fn commit(progress: &watch::Sender<Progress>, changes: u64) {
    progress.send_replace(Progress { committed: Ticket::new(changes), failure: None });
}

#[tokio::test]
async fn a_change_is_seen_at_once_and_acknowledged_when_it_is_durable() {
    let progress = watch::Sender::default();
    let store = SlowStore { last: Ticket::default(), progress: progress.clone() };
    let origin = Origin::empty(native::StoreId::new(1));
    let bind = |config: &Config| Server::with_store(config, Box::new(store), origin).unwrap();
    let registry = Running::with(bind, Config::default());
    let (first, second, asker) =
        (registry.datagrams().await, registry.datagrams().await, registry.datagrams().await);
    let mut stream = registry.connection().await;
    first.send(&register(&["a"], 1)).await.unwrap();
    let query = encoded(&Request::Query { name: "a" });
    while reply::decode_endpoints(&ask(&asker, &query).await).unwrap().is_empty() {}

    second.send(&register(&["b"], 2)).await.unwrap();
    let query = encoded(&Request::Query { name: "b" });
    while reply::decode_endpoints(&ask(&asker, &query).await).unwrap().is_empty() {}
    stream.write_all(&register(&["c"], 3)).await.unwrap();
    let query = encoded(&Request::Query { name: "c" });
    while reply::decode_endpoints(&ask(&asker, &query).await).unwrap().is_empty() {}

    let mut buffer = [0; 100];
    timeout(SILENCE, first.recv(&mut buffer)).await.unwrap_err();
    // A repeated registration does not make the pending change durable.
    asker.send(&register(&["a"], 1)).await.unwrap();
    timeout(SILENCE, asker.recv(&mut buffer)).await.unwrap_err();

    commit(&progress, 1);
    assert_eq!(answer(&first).await, reply::ACKNOWLEDGEMENT);
    assert_eq!(answer(&asker).await, reply::ACKNOWLEDGEMENT);
    // From then on a renewal changes nothing in the store and waits for nothing.
    assert_eq!(ask(&asker, &register(&["a"], 1)).await, reply::ACKNOWLEDGEMENT);
    timeout(SILENCE, second.recv(&mut buffer)).await.unwrap_err();
    commit(&progress, 3);
    assert_eq!(answer(&second).await, reply::ACKNOWLEDGEMENT);
    assert_eq!(to_end(&mut stream).await, reply::ACKNOWLEDGEMENT);
    // The channel closes as when a store has finished after it was dropped.
    drop(progress);
    assert!(registry.stop().await);
}

#[tokio::test]
async fn while_the_store_fails_native_askers_are_told_so_at_once_and_shortly() {
    let progress = watch::Sender::default();
    let store = SlowStore { last: Ticket::default(), progress: progress.clone() };
    let origin = Origin::empty(native::StoreId::new(1));
    let bind = |config: &Config| Server::with_store(config, Box::new(store), origin).unwrap();
    let registry = Running::with(bind, Config::default());
    let failure = Some("the disk is full. ".repeat(50).into());
    progress.send_replace(Progress { committed: Ticket::default(), failure });
    let socket = registry.datagrams().await;
    for padding in [0, 900] {
        let padding = " ".repeat(padding);
        let request =
            format!("{{\"v\":1,\"op\":\"register\",\"names\":[\"a\"],\"port\":1}}{padding}");
        let request = with_cookie(&socket, &request).await;
        let told = ask(&socket, request.as_bytes()).await;
        assert!(told.len() <= native::MAX_DATAGRAM, "{}", told.len());
        let error = native::Reply::parse(&told).unwrap().error.unwrap();
        assert_eq!(error.code, native::ErrorCode::NotDurable);
        assert!(error.message.contains("the disk is full"));
    }
    // The first, its replacement, and the end of the first.
    commit(&progress, 3);
    drop(progress);
    assert!(registry.stop().await);
}

#[tokio::test]
async fn an_answer_that_waits_becomes_a_refusal_when_the_store_fails() {
    let progress = watch::Sender::default();
    let store = SlowStore { last: Ticket::default(), progress: progress.clone() };
    let origin = Origin::empty(native::StoreId::new(1));
    let bind = |config: &Config| Server::with_store(config, Box::new(store), origin).unwrap();
    let registry = Running::with(bind, Config::default());
    let (native, legacy) = (registry.datagrams().await, registry.datagrams().await);
    let request = format!("{{\"v\":1,\"op\":\"register\",\"names\":[\"a\"],\"port\":1}}{:900}", "");
    let request = with_cookie(&native, &request).await;
    native.send(request.as_bytes()).await.unwrap();
    legacy.send(&register(&["b"], 2)).await.unwrap();
    let asker = registry.datagrams().await;
    for name in ["a", "b"] {
        let query = encoded(&Request::Query { name });
        while reply::decode_endpoints(&ask(&asker, &query).await).unwrap().is_empty() {}
    }
    let failure = Some("the disk is full".into());
    progress.send_replace(Progress { committed: Ticket::default(), failure });
    let error = native::Reply::parse(&answer(&native).await).unwrap().error.unwrap();
    assert_eq!(error.code, native::ErrorCode::NotDurable);
    assert!(error.message.ends_with("the disk is full"), "{}", error.message);
    // Silence is the only refusal of a legacy datagram, so that one waits for the store to recover.
    let mut buffer = [0; 100];
    timeout(SILENCE, legacy.recv(&mut buffer)).await.unwrap_err();
    commit(&progress, 2);
    assert_eq!(answer(&legacy).await, reply::ACKNOWLEDGEMENT);
    drop(progress);
    assert!(registry.stop().await);
}

#[tokio::test]
async fn while_the_store_is_read_nobody_is_told_that_nobody_is_there() {
    let (opened, open) = oneshot::channel::<Opened>();
    let bind =
        |config: &Config| Server::with_opening(config, async { Ok(open.await.unwrap()) }).unwrap();
    let registry = Running::with(bind, Config::default());
    let (legacy, native) = (registry.datagrams().await, registry.datagrams().await);
    let query = encoded(&Request::Query { name: "a" });
    legacy.send(&query).await.unwrap();
    let code = |bytes: &[u8]| native::Reply::parse(bytes).unwrap().error.unwrap().code;
    for resolve in
        ["{\"v\":1,\"op\":\"ping\"}", "{\"v\":1,\"op\":\"resolve\",\"name\":\"a\",\"id\":7}"]
    {
        let told = ask(&native, resolve.as_bytes()).await;
        assert_eq!(code(&told), native::ErrorCode::NotReady);
        assert!(told.len() <= resolve.len() * native::MAX_AMPLIFICATION);
        let mut stream = registry.connection().await;
        stream.write_all(format!("{resolve}\n").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(code(&to_end(&mut stream).await), native::ErrorCode::NotReady);
    }
    let mut patient = registry.connection().await;
    patient.write_all(&query).await.unwrap();
    let mut buffer = [0; 100];
    timeout(SILENCE, legacy.recv(&mut buffer)).await.unwrap_err();
    timeout(SILENCE, patient.read(&mut buffer)).await.unwrap_err();

    let store = Box::new(MemoryStore::new());
    let records = vec![kept(7, "a")].into();
    let origin = Origin { records, ..Origin::empty(native::StoreId::new(1)) };
    opened.send(Opened { store, origin }).unwrap();
    let found = reply::decode_endpoints(&to_end(&mut patient).await).unwrap();
    assert_eq!(found.len(), 1, "the earlier request is answered now");
    assert_eq!(reply::decode_endpoints(&ask(&legacy, &query).await).unwrap(), found);
    assert!(registry.stop().await);
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_ends_the_registry() {
    let failing = async {
        let (path, source) = ("/x".into(), std::io::ErrorKind::PermissionDenied.into());
        Err(StoreError::Io { what: "open", path, source })
    };
    let bind = |config: &Config| Server::with_opening(config, failing).unwrap();
    let registry = Running::with(bind, Config::default());
    let error = timeout(PATIENCE, registry.serving).await.unwrap().unwrap().unwrap_err();
    assert!(error.to_string().contains("cannot open /x"), "{error}");
}

fn kept(id: u64, name: &str) -> Record {
    Record {
        id,
        names: vec![ServiceName::new(name).unwrap()],
        host: Host::new([10, 0, 0, 1].into(), 0),
        port: Port::tcp(1).unwrap(),
        registered_at: 0,
        is_draining: false,
        silent: Vec::new(),
        native: None,
    }
}

#[tokio::test]
async fn a_request_may_come_in_any_pieces() {
    let registry = Running::start(Config::default());
    let request = register(&["payroll", "pay"], 18861);
    for size in [1, 2, 7, request.len()] {
        let mut stream = registry.connection().await;
        stream.set_nodelay(true).unwrap();
        for piece in request.chunks(size) {
            stream.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(to_end(&mut stream).await, reply::ACKNOWLEDGEMENT, "pieces of {size}");
    }
    assert!(registry.stop().await);
}

#[tokio::test]
async fn a_registration_longer_than_a_segment_is_served() {
    let registry = Running::start(Config::default());
    let names: Vec<_> = (0..64).map(|n| format!("{n:0>255}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let request = register(&names, 1);
    assert!(request.len() > 16_000);
    let socket = registry.datagrams().await;
    assert_eq!(ask(&socket, &request).await, reply::ACKNOWLEDGEMENT);
    let mut stream = registry.connection().await;
    stream.write_all(&request).await.unwrap();
    assert_eq!(to_end(&mut stream).await, reply::ACKNOWLEDGEMENT);
    assert!(registry.stop().await);
}

#[tokio::test]
async fn bad_input_closes_its_connection_and_no_other() {
    let registry = Running::start(Config::default());
    let mut bystander = registry.connection().await;
    let request = register(&["a"], 1);
    bystander.write_all(&request[..9]).await.unwrap();
    // Invalid brine; a value that is not a request; a request that would be too long; a line that
    // is.
    let long_line = vec![b'{'; 40_000];
    for bad in
        [&b"\xff"[..], b"GET / HTTP/1.1\r\n\r\n", b"\x50", b"\x0f\xff\xff\xff\xff", &long_line]
    {
        let mut stream = registry.connection().await;
        // The registry may close before it has read everything.
        let _ = stream.write_all(bad).await;
        let mut rest = Vec::new();
        let closed = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "still open after {:?}", bad.get(..9));
        assert!(rest.is_empty(), "answered {rest:?}");
    }
    bystander.write_all(&request[9..]).await.unwrap();
    assert_eq!(to_end(&mut bystander).await, reply::ACKNOWLEDGEMENT);
    assert!(registry.stop().await);
}

#[tokio::test]
async fn bytes_after_a_request_do_not_cost_the_answer() {
    let registry = Running::start(Config::default());
    let mut stream = registry.connection().await;
    stream.write_all(&[register(&["a"], 1), vec![0; 3000]].concat()).await.unwrap();
    assert_eq!(to_end(&mut stream).await, reply::ACKNOWLEDGEMENT);
    assert!(registry.stop().await);
}

#[tokio::test]
async fn a_full_house_makes_room_for_who_comes() {
    let limits = Limits { connections: 8, ..Limits::default() };
    let registry = Running::start(Config {
        table: TableConfig { limits, ..TableConfig::default() },
        ..Config::default()
    });
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(registry.connection().await);
    }
    for _ in 0..20 {
        let mut stream = registry.connection().await;
        stream.write_all(&register(&["a"], 1)).await.unwrap();
        assert_eq!(to_end(&mut stream).await, reply::ACKNOWLEDGEMENT);
    }
    // The oldest connection has been idle longest.
    assert_eq!(to_end(&mut idle[0]).await, b"");
    assert!(registry.stop().await);
}

#[tokio::test]
async fn native_requests_share_the_port_and_a_connection() {
    let registry = Running::start(Config::default());
    let socket = registry.datagrams().await;
    ask(&socket, &register(&["a", "b"], 1)).await;
    let list = br#"{"v":1,"op":"list","padding":"                                                                                                                                                         "}"#;
    let reply = native::Reply::parse(&ask(&socket, list).await).unwrap();
    let names: Vec<_> =
        reply.services.iter().flatten().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["A", "B"]);

    let mut stream = registry.connection().await;
    stream.write_all(b"{\"v\":1,\"op\":\"resolve\",\"name\":\"a\"}\n{\"v\":9,").await.unwrap();
    stream.write_all(b"\"op\":\"list\"}\n{nonsense}\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let answers = String::from_utf8(to_end(&mut stream).await).unwrap();
    let answers: Vec<_> =
        answers.lines().map(|line| native::Reply::parse(line.as_bytes()).unwrap()).collect();
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[0].services.as_ref().unwrap()[0].instances[0].host, "127.0.0.1");
    let codes: Vec<_> = answers.iter().map(|it| it.error.as_ref().map(|it| it.code)).collect();
    let (version, bad) = (native::ErrorCode::UnsupportedVersion, native::ErrorCode::BadRequest);
    assert_eq!(codes, [None, Some(version), Some(bad)]);
    assert!(registry.stop().await);
}

#[tokio::test]
async fn a_client_that_never_sends_does_not_hold_up_the_end() {
    let registry = Running::start(Config::default());
    let mut silent = registry.connection().await;
    // Connections are served in turn, so the silent one has been accepted once this is answered.
    let mut stream = registry.connection().await;
    stream.write_all(&register(&["a"], 1)).await.unwrap();
    to_end(&mut stream).await;
    assert!(registry.stop().await);
    assert_eq!(to_end(&mut silent).await, b"");
}
