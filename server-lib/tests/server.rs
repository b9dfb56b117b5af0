//! A server and its clients, in one program.
#![expect(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::future::{IntoFuture, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rpyc_client::{Connection, MemoryBudget, RemoteObject, connect};
use rpyc_server::builtins::PermissionError;
use rpyc_server::{
    Ended, Local, Parcel, Peer, Server, ServerBuilder, SessionLimits, args, service,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

/// What the tests see of a service.
#[derive(Clone, Debug, Default)]
struct Desk {
    begun: Arc<Notify>,
    go_on: Arc<Notify>,
    connected: Arc<AtomicUsize>,
    disconnected: Arc<AtomicUsize>,
    refuses: bool,
}

#[service]
impl Desk {
    fn quick(&self) -> i64 {
        1
    }

    async fn slow(&self) -> i64 {
        self.begun.notify_one();
        self.go_on.notified().await;
        2
    }

    async fn stuck(&self) {
        self.begun.notify_one();
        pending::<()>().await;
    }

    fn thing(&self) -> Local {
        Local::new(Self::default())
    }

    fn broken(&self) {
        panic!("as it was told");
    }

    fn host(&self, connection: &Connection) -> Option<String> {
        connection.peer_addr().map(|addr| addr.ip().to_string())
    }

    #[service(on_connect)]
    fn welcome(&self) -> Result<(), PermissionError> {
        self.connected.fetch_add(1, Ordering::SeqCst);
        if self.refuses { Err(PermissionError::new("not today")) } else { Ok(()) }
    }

    // A hook by its name, as in Python.
    fn on_disconnect(&self) {
        self.disconnected.fetch_add(1, Ordering::SeqCst);
    }
}

/// A server that runs, and what ends it.
struct Running {
    addr: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Ended>,
}

impl Running {
    async fn start(builder: ServerBuilder<Desk>) -> Self {
        let server = builder.bind("127.0.0.1:0").listen().await.unwrap();
        let addr = server.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel();
        Self { addr, stop, task: tokio::spawn(server.serve(stopped)) }
    }

    async fn root(&self) -> RemoteObject {
        connect(&self.addr).await.unwrap().root().await.unwrap()
    }

    async fn end(self) -> Ended {
        self.stop.send(()).unwrap();
        self.task.await.unwrap()
    }
}

async fn quick(root: &RemoteObject) -> i64 {
    root.call("quick", ()).await.unwrap()
}

#[tokio::test]
async fn a_hook_is_called_by_the_server_and_by_nobody_else() {
    let desk = Desk::default();
    let server = Running::start(Server::builder(desk.clone())).await;
    let root = server.root().await;
    for hook in ["on_disconnect", "welcome", "on_connect"] {
        let denied = root.call::<()>(hook, ()).await.unwrap_err();
        assert!(denied.is("AttributeError"), "{hook}: {denied:?}");
    }
    assert!(!root.dir().await.unwrap().iter().any(|name| name.contains("connect")));
    assert_eq!(desk.disconnected.load(Ordering::SeqCst), 0);
    root.connection().close().await;
    server.end().await;
    assert_eq!(desk.disconnected.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_is_under_way_is_finished_before_a_server_ends() {
    let desk = Desk::default();
    let server = Running::start(Server::builder(desk.clone())).await;
    let (root, idle) = (server.root().await, server.root().await);
    let slow = tokio::spawn(root.call::<i64>("slow", ()).into_future());
    desk.begun.notified().await;

    server.stop.send(()).unwrap();
    // Who waits for nothing is sent away at once, and what comes now is refused.
    idle.connection().closed().await;
    let late = root.call::<i64>("quick", ()).await.unwrap_err();
    assert!(late.is("ConnectionError"), "{late:?}");
    assert!(connect(&server.addr).await.is_err());

    desk.go_on.notify_one();
    assert_eq!(slow.await.unwrap().unwrap(), 2);
    let ended = server.task.await.unwrap();
    assert!(ended.is_drained && ended.is_withdrawn);
    assert_eq!(desk.connected.load(Ordering::SeqCst), desk.disconnected.load(Ordering::SeqCst));
}

#[tokio::test]
async fn what_is_stuck_is_cut_off_after_the_grace() {
    let desk = Desk::default();
    let grace = Duration::from_millis(50);
    let server = Running::start(Server::builder(desk.clone()).grace(grace)).await;
    let root = server.root().await;
    let stuck = tokio::spawn(root.call::<()>("stuck", ()).into_future());
    desk.begun.notified().await;

    assert!(!server.end().await.is_drained);
    let error = stuck.await.unwrap().unwrap_err();
    assert!(error.is_disconnected() && error.may_have_run(), "{error:?}");
}

#[tokio::test]
async fn a_panic_is_an_exception_and_nothing_more() {
    let server = Running::start(Server::builder(Desk::default())).await;
    let root = server.root().await;
    let error = root.call::<()>("broken", ()).await.unwrap_err();
    assert_eq!(error.remote().unwrap().to_string(), "RuntimeError: internal error");
    assert_eq!(quick(&root).await, 1);
}

#[tokio::test]
async fn a_client_too_many_is_hung_up_on() {
    let server = Running::start(Server::builder(Desk::default()).max_connections(1)).await;
    let root = server.root().await;
    assert!(connect(&server.addr).await.is_err());
    assert_eq!(quick(&root).await, 1);
    let connection = root.connection();
    connection.close().await;
    // There is room again, as soon as the server knows.
    while connect(&server.addr).await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// The log, as text.
#[derive(Clone, Debug, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        std::io::Write::write(&mut *self.0.lock().unwrap(), text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_no_more() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    // The server runs on this thread, too.
    let _told = tracing::subscriber::set_default(subscriber);
    let builder = Server::builder(Desk::default()).max_connections_per_address(2);
    let server = Running::start(builder).await;
    let port = server.addr.rsplit_once(':').unwrap().1;
    let (one, other) = (server.root().await, server.root().await);
    assert!(connect(&server.addr).await.is_err());
    let told = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(told.contains("too many connections of one address"), "{told}");
    assert!(told.contains("127.0.0.1:") && told.contains('2'), "{told}");
    assert_eq!(quick(&one).await + quick(&other).await, 2);

    // Another address has its own.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let stream = socket.connect(format!("127.0.0.1:{port}").parse().unwrap()).await.unwrap();
    let elsewhere = Connection::builder().over(stream).root().await.unwrap();
    assert_eq!(quick(&elsewhere).await, 1);

    one.connection().close().await;
    // There is room again, as soon as the server knows.
    while connect(&server.addr).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_service_may_refuse_a_client() {
    let desk = Desk { refuses: true, ..Desk::default() };
    let server = Running::start(Server::builder(desk.clone())).await;
    assert!(connect(&server.addr).await.is_err());
    server.end().await;
    let connected = desk.connected.load(Ordering::SeqCst);
    assert!(connected > 0);
    assert_eq!(connected, desk.disconnected.load(Ordering::SeqCst));
}

#[tokio::test]
async fn each_client_has_a_service_of_its_own_if_so_told() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let builder = Server::per_connection(move |peer: &Peer| {
        assert!(peer.ip().unwrap().is_loopback());
        count.fetch_add(1, Ordering::SeqCst);
        Desk::default()
    });
    let server = Running::start(builder).await;
    let (one, other) = (server.root().await, server.root().await);
    assert_eq!(quick(&one).await + quick(&other).await, 2);
    assert!(made.load(Ordering::SeqCst) >= 2);
    assert_eq!(one.call::<String>("host", ()).await.unwrap(), "127.0.0.1");
}

#[tokio::test]
async fn a_silent_client_is_sent_away_if_so_told() {
    let limits = SessionLimits { idle: Some(Duration::from_millis(30)), ..SessionLimits::DEFAULT };
    let server = Running::start(Server::builder(Desk::default()).limits(limits)).await;
    server.root().await.connection().closed().await;
}

/// Whether the server hangs up on a connection, now or later.
async fn hangs_up(stream: &mut tokio::net::TcpStream) {
    // The end, whether it comes in peace or as a reset.
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn a_client_that_sends_no_request_is_hung_up_on_and_one_that_did_may_idle() {
    let limit = Duration::from_millis(200);
    let builder = Server::builder(Desk::default()).first_message_timeout(limit);
    let server = Running::start(builder).await;
    let root = server.root().await;
    for half_a_request in [&b""[..], b"\0\0\0\x08\0\x01\x11"] {
        let started = std::time::Instant::now();
        let mut silent = tokio::net::TcpStream::connect(&server.addr).await.unwrap();
        silent.write_all(half_a_request).await.unwrap();
        hangs_up(&mut silent).await;
        assert!(started.elapsed() >= limit);
    }
    assert_eq!(quick(&root).await, 1, "idle for twice the limit");
    let builder = Server::builder(Desk::default()).first_message_timeout(None);
    let patient = Running::start(builder).await;
    let mut silent = tokio::net::TcpStream::connect(&patient.addr).await.unwrap();
    assert!(tokio::time::timeout(limit * 2, hangs_up(&mut silent)).await.is_err());
}

#[tokio::test]
async fn silent_clients_make_room_for_others() {
    let desk = Desk::default();
    let builder = Server::builder(desk.clone()).max_connections(20);
    let server = Running::start(builder).await;
    let root = server.root().await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(tokio::net::TcpStream::connect(&server.addr).await.unwrap());
    }
    let late = server.root().await;
    assert_eq!(quick(&root).await + quick(&late).await, 2);
    for silent in &mut silent[..20] {
        hangs_up(silent).await;
    }
    drop(silent);
    root.connection().close().await;
    late.connection().close().await;
    server.end().await;
    assert_eq!(desk.connected.load(Ordering::SeqCst), desk.disconnected.load(Ordering::SeqCst));
}

/// Announces a frame of 1 MiB, and sends half of it.
async fn half_a_frame(addr: &str, greeting: &[u8]) -> tokio::net::TcpStream {
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    stream.write_all(greeting).await.unwrap();
    if !greeting.is_empty() {
        stream.read_exact(&mut [0; 5]).await.unwrap();
    }
    let mut half = vec![1; 512 << 10];
    half.splice(..5, [0, 16, 0, 0, 0]);
    stream.write_all(&half).await.unwrap();
    stream
}

/// GETROOT, in the dialect of rpyc 6.
const GET_ROOT: &[u8] = b"\0\0\0\x08\0\x01\x11\x50\x11\x53\x11\x51\x02\n";

#[tokio::test]
async fn unfinished_frames_share_a_budget() {
    let budget = MemoryBudget::new().unfinished_bytes(4 << 20).first_bytes(1 << 20);
    let limits = SessionLimits { stall: Duration::from_secs(3600), ..SessionLimits::DEFAULT };
    let builder = Server::builder(Desk::default()).memory_budget(budget.clone()).limits(limits);
    let server = Running::start(builder).await;
    let until_used = async |used: std::ops::RangeInclusive<usize>| {
        while !used.contains(&budget.unfinished()) {
            tokio::task::yield_now().await;
        }
    };
    // Before the first request: two of these are too many.
    let mut first = half_a_frame(&server.addr, b"").await;
    until_used(512 << 10..=1 << 20).await;
    let mut held = vec![half_a_frame(&server.addr, b"").await];
    hangs_up(&mut first).await;
    assert!(budget.unfinished() <= 1 << 20);
    // After it: one more than fits makes the oldest give way.
    for _ in 0..12 {
        held.push(half_a_frame(&server.addr, GET_ROOT).await);
    }
    for oldest in &mut held[1..4] {
        hangs_up(oldest).await;
    }
    assert!(budget.unfinished() <= 4 << 20, "{}", budget.unfinished());
    // A whole frame that is larger than what is left passes.
    let root = server.root().await;
    let error = root.call::<()>("quick", args![Parcel::bytes(vec![7; 2 << 20])]).await.unwrap_err();
    assert!(error.is("TypeError"), "{error:?}");
    drop(held);
    until_used(0..=0).await;
}

#[tokio::test]
async fn answers_that_are_not_read_share_a_budget() {
    let budget = MemoryBudget::new().held_bytes(4 << 20);
    let builder = Server::builder(Desk::default()).memory_budget(budget.clone());
    let server = Running::start(builder.compress_above(None)).await;
    let root = server.root().await;
    // PING with a megabyte, which comes back: more of them than the system keeps.
    let mut ping = b"\0\x10\0\x1b\0\x01\x11\x50\x11\x51\x11\x51\x10\x0f\0\x10\0\0".to_vec();
    ping.resize(ping.len() + (1 << 20), b'x');
    ping.push(b'\n');
    let payload = ping.len() - 6;
    ping.splice(..4, u32::try_from(payload).unwrap().to_be_bytes());
    let mut greedy = tokio::net::TcpStream::connect(&server.addr).await.unwrap();
    let started = std::time::Instant::now();
    while greedy.write_all(&ping).await.is_ok() {
        assert!(started.elapsed() < Duration::from_secs(60), "{budget:?}");
    }
    assert_eq!(quick(&root).await, 1);
    while budget.held() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn refusals_do_not_flood_the_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    // The server runs on this thread, too.
    let _told = tracing::subscriber::set_default(subscriber);
    let server = Running::start(Server::builder(Desk::default()).max_connections(1)).await;
    let root = server.root().await;
    for _ in 0..100 {
        hangs_up(&mut tokio::net::TcpStream::connect(&server.addr).await.unwrap()).await;
    }
    assert_eq!(quick(&root).await, 1);
    let told = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(told.matches("too many connections").count(), 1, "{told}");
}

#[tokio::test]
async fn requests_past_the_limit_are_answered_with_an_exception() {
    let desk = Desk::default();
    let limits = SessionLimits { requests: 2, ..SessionLimits::DEFAULT };
    let server = Running::start(Server::builder(desk.clone()).limits(limits)).await;
    let root = server.root().await;
    let waiting = [(); 2].map(|()| tokio::spawn(root.call::<i64>("slow", ()).into_future()));
    desk.begun.notified().await;
    desk.begun.notified().await;
    let error = root.call::<i64>("quick", ()).await.unwrap_err();
    assert!(error.is("RuntimeError"), "{error:?}");
    for slow in waiting {
        desk.go_on.notify_one();
        assert_eq!(slow.await.unwrap().unwrap(), 2);
    }
    assert_eq!(quick(&root).await, 1);
}

#[tokio::test]
async fn a_client_holds_so_many_objects_and_no_more() {
    let limits = SessionLimits { exports: 10, ..SessionLimits::DEFAULT };
    let server = Running::start(Server::builder(Desk::default()).limits(limits)).await;
    let root = server.root().await;
    // The root is one of them.
    let mut held = Vec::new();
    for _ in 0..9 {
        held.push(root.call::<RemoteObject>("thing", ()).await.unwrap());
    }
    let error = root.call::<RemoteObject>("thing", ()).await.unwrap_err();
    assert!(error.is("RuntimeError"), "{error:?}");
    held.pop();
    root.call::<RemoteObject>("thing", ()).await.unwrap();
}

#[tokio::test]
async fn one_client_is_served_over_any_stream() {
    let (ours, theirs) = tokio::io::duplex(4096);
    let serving =
        tokio::spawn(Server::builder(Desk::default()).serve_stream(theirs, pending::<()>()));
    let connection = Connection::builder().over(ours);
    let root = connection.root().await.unwrap();
    assert_eq!(quick(&root).await, 1);
    connection.close().await;
    assert!(serving.await.unwrap().is_drained);
}

#[cfg(unix)]
#[tokio::test]
async fn clients_are_served_over_unix_sockets() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("desk");
    // A server that was killed has left its socket.
    drop(tokio::net::UnixListener::bind(&path).unwrap());
    let builder = Server::per_connection(|peer| {
        assert_eq!(peer.credentials.unwrap().process, i32::try_from(std::process::id()).ok());
        Desk::default()
    });
    let server = builder.bind_unix(&path).listen().await.unwrap();
    assert!(server.local_addr().is_none());
    let taken = Server::builder(Desk::default()).bind_unix(&path).listen().await;
    assert!(taken.is_err(), "a living server keeps its socket");

    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.serve(stopped));
    let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let root = Connection::builder().over(stream).root().await.unwrap();
    assert_eq!(quick(&root).await, 1);
    stop.send(()).unwrap();
    assert!(task.await.unwrap().is_drained);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_server_without_an_address_does_not_listen() {
    assert!(Server::builder(Desk::default()).listen().await.is_err());
    assert!(Server::builder(Desk::default()).bind("no such address").listen().await.is_err());
}

#[tokio::test]
async fn bytes_that_are_no_frame_end_their_connection_only() {
    let server = Running::start(Server::builder(Desk::default())).await;
    let root = server.root().await;
    let mut raw = tokio::net::TcpStream::connect(&server.addr).await.unwrap();
    raw.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    // The end, whether it comes in peace or as a reset.
    let _ = raw.read_to_end(&mut Vec::new()).await;
    assert_eq!(quick(&root).await, 1);
    let error = root.call::<i64>("quick", args![1]).await.unwrap_err();
    let message = "TypeError: Desk.quick() takes 1 positional argument but 2 were given";
    assert_eq!(error.remote().unwrap().to_string(), message);
}
