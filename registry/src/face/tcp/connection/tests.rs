//! Connections over a pipe, in paused time.

use std::sync::Arc;

use rpyc_protocol::registry::native::StoreId;
use rpyc_protocol::registry::reply::ACKNOWLEDGEMENT;
use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::super::arrival_order::ArrivalOrder;
use super::super::idle::ConnectionCount;
use super::*;
use crate::access::{Access, Listing};
use crate::counters::Counters;
use crate::dispatch::Dispatcher;
use crate::host::Host;
use crate::net::Interfaces;
use crate::store::{MemoryStore, Origin};
use crate::table::{Registry, TableConfig, Transport};

const REGISTER: &[u8] = b"\x12\x08\x0dRPYC\x08\x0e\x08REGISTER\x11\x10\x08\x0aA\x51";

struct Client {
    stream: DuplexStream,
    serving: JoinHandle<()>,
    stop: CancellationToken,
    reception: Arc<Reception>,
}

/// A client whose connection is served by a separate registry.
fn connect() -> Client {
    let now = Instant::now().into_std();
    let store = MemoryStore::new();
    let origin = Origin::empty(StoreId::new(1));
    let entropy = Box::new(|| 4);
    let registry = Registry::new(now, TableConfig::default(), Box::new(store), origin, entropy);
    let counters = Arc::new(Counters::new(now));
    let access = Access { listing: Listing::Everyone, ..Access::default() };
    let dispatcher = Dispatcher::new(now, registry, access, Arc::clone(&counters));
    let dispatcher = Arc::new(dispatcher);
    let reception = Arc::new(Reception::new(counters, Interfaces::default()));
    reception.open(dispatcher);
    let peer = SocketAddr::from(([10, 0, 0, 7], 1234));
    let asker = Asker {
        port: 1,
        host: Host::from(peer),
        is_here: false,
        reached: None,
        link: 0,
        transport: Transport::Tcp,
        arrival: Arrival::UNKNOWN,
    };
    let (stream, served) = duplex(64);
    let stop = CancellationToken::new();
    let (guard, _) = Arc::new(ConnectionCount::new(9, 9)).take(Instant::now(), peer, None, &stop);
    let waiting = Arc::new(ArrivalOrder::default()).join(asker.host);
    let at = (guard, waiting);
    let connection =
        Connection::new(served, (peer, asker), Arc::clone(&reception), at, stop.clone());
    Client { stream, serving: tokio::spawn(connection.run()), stop, reception }
}

impl Client {
    /// Waits for the end of the stream. Returns the bytes before it and the time until it.
    async fn rest(&mut self) -> (Vec<u8>, Duration) {
        let started = Instant::now();
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).await.unwrap();
        (bytes, started.elapsed())
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_nothing_is_closed_at_the_deadline() {
    let mut client = connect();
    assert_eq!(client.rest().await, (vec![], REQUEST_DEADLINE));
    assert_eq!(client.reception.counters.total(Loss::Deadline), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_finishes_is_closed_at_the_deadline() {
    let mut client = connect();
    let started = Instant::now();
    for byte in &[0x0f, 0, 0, 1, 0].into_iter().chain([b'x'; 100]).collect::<Vec<_>>() {
        if client.stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(started.elapsed() <= REQUEST_DEADLINE + Duration::from_secs(1));
    assert_eq!(client.reception.counters.total(Loss::Deadline), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_take_its_answers_is_closed_at_the_deadline() {
    let mut client = connect();
    let request = b"{\"v\":1,\"op\":\"resolve\",\"name\":\"x\"}\n";
    // The answers fill the pipe, then the requests do.
    while client.stream.write_all(request).await.is_ok() {}
    client.serving.await.unwrap();
    assert_eq!(client.reception.counters.total(Loss::Deadline), 1);
}

#[tokio::test(start_paused = true)]
async fn a_native_client_may_idle_and_is_not_blamed_for_it() {
    let mut client = connect();
    client.stream.write_all(b"{\"v\":1,\"op\":\"list\"}\n").await.unwrap();
    let (answer, took) = client.rest().await;
    assert_eq!(answer.last(), Some(&b'\n'));
    assert_eq!(took, IDLE_DEADLINE);
    assert_eq!(client.reception.counters.total(Loss::Deadline), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_inside_a_request_is_counted() {
    let mut client = connect();
    client.stream.write_all(&REGISTER[..9]).await.unwrap();
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.rest().await.0, b"");
    assert_eq!(client.reception.counters.total(Loss::Broken), 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_registry_lets_a_request_finish_that_has_begun() {
    let mut client = connect();
    client.stream.write_all(&REGISTER[..9]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    client.stop.cancel();
    client.stream.write_all(&REGISTER[9..]).await.unwrap();
    assert_eq!(client.rest().await.0, ACKNOWLEDGEMENT);

    let mut silent = connect();
    silent.stop.cancel();
    assert_eq!(silent.rest().await, (vec![], Duration::ZERO));
}
