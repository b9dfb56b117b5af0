//! Overload: which requests are shed first, and the state afterwards.
//!
//! Requests are shed only on systems that report dropped datagrams.
#![cfg(all(target_os = "linux", not(feature = "portable")))]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::{Names, Port, Request, native, reply};
use rpyc_registry::{Config, Listener, Server};
use tokio::sync::oneshot;

/// How long a request waits for its answer before it is repeated.
const AGAIN: Duration = Duration::from_secs(2);

/// After this many requests without an answer, there will be none.
const TRIES: usize = 30;

/// Servers whose leases must survive.
const SERVERS: u16 = 10;

/// An upper bound of the memory, in bytes, that a flood may cost the registry: each socket
/// allocates buffers for a batch once, and everything else has a limit.
const GROWTH: u64 = 64 << 20;

fn encoded(request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode(&mut bytes).unwrap();
    bytes
}

fn register(port: u16) -> Vec<u8> {
    let names = [ServiceName::new(&format!("server-{port}")).unwrap()];
    let (names, port) = (Names::from(&names[..]), Port::tcp(port).unwrap());
    encoded(&Request::Register { names, port })
}

/// Repeats a request until it is answered, as RPyC's servers do when they renew.
fn ask(registry: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    for _ in 0..TRIES {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect(registry).unwrap();
        socket.set_read_timeout(Some(AGAIN)).unwrap();
        socket.send(request).unwrap();
        if let Ok(len) = socket.recv(&mut buffer) {
            buffer.truncate(len);
            return buffer;
        }
    }
    panic!("no answer to {TRIES} tries: {:?}", losses(registry));
}

/// The counters of requests that were not served.
fn losses(registry: SocketAddr) -> BTreeMap<String, u64> {
    let mut stream = TcpStream::connect(registry).unwrap();
    stream.write_all(b"{\"v\":1,\"op\":\"status\"}\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    native::Reply::parse(&bytes).unwrap().status.unwrap().counters
}

/// Sends lists and queries as fast as it can, and reads no answer.
fn flood(registry: SocketAddr, is_over: &AtomicBool) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(registry).unwrap();
    let requests =
        [encoded(&Request::List { host: None }), encoded(&Request::Query { name: "server-1" })];
    while !is_over.load(Ordering::Relaxed) {
        for request in &requests {
            // A full send buffer is flood enough.
            let _ = socket.send(request);
        }
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kibibytes << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_flood_of_lists_and_queries_servers_are_renewed_and_memory_stays_bounded() {
    let hosts = vec![Ipv4Addr::LOCALHOST.into()];
    let config = Config { hosts, port: 0, udp_sockets: 2, ..Config::default() };
    let server = Server::bind(&config).unwrap();
    let address = |is: fn(&Listener) -> bool| {
        server.listeners().iter().find(|listener| is(listener)).unwrap().address()
    };
    let udp = address(|listener| matches!(listener, Listener::Udp(_)));
    let tcp = address(|listener| matches!(listener, Listener::Tcp(_)));
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(async { drop(stopped.await) }, AGAIN));

    tokio::task::spawn_blocking(move || {
        for port in 1..=SERVERS {
            assert_eq!(ask(udp, &register(port)), reply::ACKNOWLEDGEMENT);
        }
        let before = resident_bytes();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Several ports, so that each of the sockets gets a share.
            for _ in 0..4 {
                scope.spawn(|| flood(udp, &is_over));
            }
            let renewed = std::panic::catch_unwind(|| {
                let mut tries = 0;
                loop {
                    for port in 1..=SERVERS {
                        assert_eq!(ask(udp, &register(port)), reply::ACKNOWLEDGEMENT);
                    }
                    let losses = losses(tcp);
                    if losses["dropped-by-system"] > 0 && losses["overloaded"] > 0 {
                        break resident_bytes();
                    }
                    tries += 1;
                    assert!(tries < TRIES, "nothing was shed: {losses:?}");
                }
            });
            is_over.store(true, Ordering::Relaxed);
            let after = renewed.unwrap();
            assert!(after < before + GROWTH, "{before} bytes grew to {after}");
        });
        // After the flood every client is served again, and no server has been lost.
        let names =
            reply::decode_names(&ask(udp, &encoded(&Request::List { host: None }))).unwrap();
        assert_eq!(names.map(|names| names.len()), Some(SERVERS.into()));
    })
    .await
    .unwrap();
    drop(stop);
    assert!(serving.await.unwrap().unwrap());
}
