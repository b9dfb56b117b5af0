//! Connections that are lost and made again.

use std::net::SocketAddr;

use rpyc_protocol::rpc::Exception;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::{Connection, Context, Local, Object, Parcel, args, denied};

/// Counts its calls, and loses its connection in one of them.
struct Fragile(Mutex<i64>);

impl Object for Fragile {
    async fn call_attr(&self, context: &Context, name: &str, _: Args) -> Result<Parcel, Exception> {
        let calls = {
            let mut calls = self.0.lock().unwrap();
            *calls += 1;
            *calls
        };
        match name {
            "count" => Ok(calls.into()),
            "lose" if calls < 3 => {
                context.connection().close().await;
                Ok(Parcel::NONE)
            }
            "lose" => Ok(calls.into()),
            _ => Err(denied(name)),
        }
    }
}

async fn serve(address: &str, root: &Local) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let root = root.clone();
    let serving = tokio::spawn(async move {
        let mut drivers = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let builder = Connection::builder().serving(root.clone());
            let (connection, driver) = builder.accept(stream);
            drivers.spawn(async move {
                driver.await;
                drop(connection);
            });
        }
    });
    (address, serving)
}

#[tokio::test]
async fn a_call_that_has_not_run_is_made_again_and_one_that_may_have_is_not() {
    let root = Local::new(Fragile(Mutex::new(0)));
    let (address, serving) = serve("127.0.0.1:0", &root).await;
    let service = Connection::builder().reconnecting(address);
    assert_eq!(service.call::<i64>("count", ()).await.unwrap(), 1);
    // The server goes and comes back while no call runs.
    serving.abort();
    let before = service.root().await.unwrap().connection();
    before.closed().await;
    let (_, _serving) = serve(&address.to_string(), &root).await;
    assert_eq!(service.call::<i64>("count", ()).await.unwrap(), 2);
    *root.downcast_ref::<Fragile>().unwrap().0.lock().unwrap() = 0;

    let error = service.call::<i64>("lose", ()).await.unwrap_err();
    assert!(error.may_have_run(), "{error}");
    assert_eq!(service.call::<i64>("lose", ()).idempotent().await.unwrap(), 3);
    let error = service.call::<i64>("secret", args![1]).await.unwrap_err();
    assert!(matches!(error, ReconnectError::Call(error) if error.is("AttributeError")));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_stays_away_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let service = Connection::builder().reconnecting(address);
    let service = service.with_patience(Duration::from_secs(5));
    let start = Instant::now();
    let error = service.call::<i64>("count", ()).await.unwrap_err();
    assert!(matches!(error, ReconnectError::Connect(ConnectError::Unreached(_))));
    assert!((3..=5).contains(&start.elapsed().as_secs()));
    let nowhere = Connection::builder().reconnecting("nowhere");
    let error = nowhere.call::<i64>("count", ()).await.unwrap_err();
    assert!(matches!(error, ReconnectError::Connect(ConnectError::Address(_))));
}

/// An address that takes connections and then says nothing, and one where nothing listens.
async fn silent_and_dead() -> (TcpListener, SocketAddr, SocketAddr) {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_address = silent.local_addr().unwrap();
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    (silent, silent_address, dead)
}

#[tokio::test]
async fn a_timeout_bounds_looking_for_the_service_and_connecting() {
    let (_kept, silent, dead) = silent_and_dead().await;
    let short = Duration::from_millis(200);
    let by_default = Connection::builder().timeout(short);
    for (address, builder) in [
        (dead, Connection::builder()),
        (silent, Connection::builder()),
        (dead, by_default.clone()),
        (silent, by_default),
    ] {
        let is_default = builder.timeout == Some(short);
        let service = builder.reconnecting(address);
        let start = Instant::now();
        let call = service.call::<i64>("count", ());
        let call = if is_default { call } else { call.timeout(short) };
        let error = call.await.unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert!(!error.may_have_run(), "{error}");
        match error {
            ReconnectError::Connect(ConnectError::Unreached(_)) => assert_eq!(address, dead),
            ReconnectError::Call(CallError::Timeout { after, .. }) => {
                assert_eq!((address, after), (silent, short));
            }
            other => panic!("{other:?}"),
        }
    }
    let patient = Connection::builder().reconnecting(silent).with_patience(short);
    let error = patient.root().await.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut { after, .. } if after <= short), "{error}");
}

/// The same server takes its time for each connection: longer than any caller has.
#[tokio::test]
async fn an_attempt_to_connect_outlives_the_call_that_began_it() {
    let root = Local::new(Fragile(Mutex::new(0)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = Connection::builder().reconnecting(listener.local_addr().unwrap());
    let call = service.call::<i64>("count", ()).timeout(Duration::from_millis(50));
    assert!(call.await.is_err());
    // Only now the server looks at its connections.
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (connection, driver) = Connection::builder().serving(root).accept(stream);
        driver.await;
        drop(connection);
        listener
    });
    assert_eq!(service.call::<i64>("count", ()).await.unwrap(), 1);
    // The one connection is that of the first call, and ends with the last clone.
    drop(service);
    let listener = serving.await.unwrap();
    let more = tokio::time::timeout(Duration::from_millis(1), listener.accept()).await;
    assert!(more.is_err());
}

#[tokio::test]
async fn nothing_goes_on_for_a_service_that_was_dropped() {
    use tokio::io::AsyncReadExt;

    let (listener, silent, _) = silent_and_dead().await;
    let service = Connection::builder().reconnecting(silent);
    let call = service.call::<i64>("count", ()).timeout(Duration::from_millis(50));
    assert!(call.await.is_err());
    let (mut stream, _) = listener.accept().await.unwrap();
    drop(service);
    let mut said = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut said));
    ended.await.unwrap().unwrap();
}
