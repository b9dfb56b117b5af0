mod objects;
mod writes;

use std::borrow::Cow;
use std::future::IntoFuture;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use rpyc_protocol::brine::Value;
use rpyc_protocol::rpc::{CloseReason, Exception, SessionLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::classic::{Classic, Stdio};
use crate::{Args, Context, Local, Method, Object, args, denied, kwargs};

#[derive(Debug, Default)]
struct Counter(AtomicI64);

impl Object for Counter {
    fn class(&self) -> Cow<'_, str> {
        "example.Counter".into()
    }

    fn methods(&self) -> Cow<'_, [Method]> {
        vec![Method::new("inc").with_doc("Adds.")].into()
    }

    async fn get_attr(&self, _: &Context, name: &str) -> Result<Parcel, Exception> {
        match name {
            "value" => Ok(self.0.load(Ordering::Relaxed).into()),
            _ => Err(denied(name)),
        }
    }

    async fn set_attr(&self, _: &Context, name: &str, value: Parcel) -> Result<(), Exception> {
        match name {
            "value" => {
                self.0.store(value.parse()?, Ordering::Relaxed);
                Ok(())
            }
            _ => Err(denied(name)),
        }
    }

    async fn call_attr(
        &self,
        context: &Context,
        name: &str,
        args: Args,
    ) -> Result<Parcel, Exception> {
        match name {
            "inc" => {
                let (by,): (i64,) = args.parse()?;
                Ok((self.0.fetch_add(by, Ordering::Relaxed) + by).into())
            }
            "apply" => {
                let (function, value): (Parcel, Parcel) = args.parse()?;
                context.call(&function, args![value]).await
            }
            "counters" => {
                let (count,): (usize,) = args.parse()?;
                Ok(objects(count))
            }
            "echo" => {
                let (value,): (Parcel,) = args.parse()?;
                Ok(value)
            }
            "counter" => Ok(Local::new(Self::default()).into()),
            "panic" => panic!("at the disco"),
            "sleep" => {
                let (millis,): (u64,) = args.parse()?;
                tokio::time::sleep(Duration::from_millis(millis)).await;
                Ok(self.0.fetch_add(1, Ordering::Relaxed).into())
            }
            "keyword" => Ok(args.keyword().first().map_or("", |(name, _)| &**name).into()),
            _ => Err(denied(name)),
        }
    }
}

/// Two connections over one pipe, the second of which offers a counter.
pub(super) fn pair() -> (Connection, Connection) {
    pair_with(Connection::builder(), Connection::builder())
}

pub(super) fn pair_with(
    client: ConnectionBuilder,
    server: ConnectionBuilder,
) -> (Connection, Connection) {
    let (near, far) = duplex(1 << 16);
    let (server, driver) = server.serving(Local::new(Counter::default())).accept(far);
    tokio::spawn(driver);
    (client.over(near), server)
}

/// A connection to a peer that is not there yet.
pub(super) fn scripted(builder: ConnectionBuilder) -> (Connection, DuplexStream) {
    let (near, far) = duplex(1 << 16);
    (builder.over(near), far)
}

/// Waits until it is so, without a deadline: time is paused in tests, or short.
pub(super) async fn until(condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it never came so");
}

#[tokio::test]
async fn calls_attributes_and_exceptions() {
    let (client, _server) = pair();
    let root = client.root().await.unwrap();
    assert_eq!(root.class_name(), "example.Counter");
    assert_eq!(root.call::<i64>("inc", args![5]).await.unwrap(), 5);
    assert_eq!(root.attr::<i64>("value").await.unwrap(), 5);
    root.set_attr("value", 40).await.unwrap();
    assert_eq!(root.call::<i64>("exposed_inc", args![2]).await.unwrap(), 42);
    assert_eq!(root.call::<String>("keyword", kwargs! { last: 1 }).await.unwrap(), "last");
    let inc: RemoteObject = root.attr("inc").await.unwrap();
    assert_eq!(inc.invoke::<i64>(args![1]).await.unwrap(), 43);
    let error = root.call::<()>("secret", ()).await.unwrap_err();
    assert!(error.is("AttributeError"));
    assert_eq!(error.to_string(), "AttributeError: cannot access 'secret'");
    assert_eq!(root.repr().await.unwrap(), "<example.Counter object>");
    assert_eq!(root.dir().await.unwrap(), ["inc"]);
    assert_eq!(root.methods().await.unwrap(), [("inc".into(), Some("Adds.".into()))]);
}

#[tokio::test]
async fn functions_are_called_back() {
    let (client, _server) = pair();
    let root = client.root().await.unwrap();
    let double = Local::function(|args| async move {
        let (number,): (i64,) = args.parse()?;
        Ok(number * 2)
    });
    assert_eq!(root.call::<i64>("apply", args![double, 21]).await.unwrap(), 42);
    let same: Local = root.call("echo", args![double]).await.unwrap();
    assert!(same.is_same(&double));
}

#[tokio::test]
async fn an_object_is_the_same_every_time_and_goes_with_the_last_reference() {
    let (client, server) = pair();
    let root = client.root().await.unwrap();
    let counter: RemoteObject = root.call("counter", ()).await.unwrap();
    let echoes: (RemoteObject, RemoteObject) =
        root.call("echo", args![(&counter, &counter)]).await.unwrap();
    assert!(echoes.0.is_same(&counter) && echoes.1.is_same(&counter));
    assert_eq!(server.stats().exports, 2);
    drop(echoes);
    assert_eq!(counter.call::<i64>("inc", args![1]).await.unwrap(), 1);
    drop(counter);
    until(|| server.stats().exports == 1).await;
    drop(root);
    // The root stays for as long as the connection.
    assert_eq!(client.root().await.unwrap().call::<i64>("inc", args![1]).await.unwrap(), 1);
    assert_eq!(client.stats().imports, 1);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_call_after_its_timeout() {
    let (client, _peer) = scripted(Connection::builder().timeout(Duration::from_secs(7)));
    let start = tokio::time::Instant::now();
    let error = client.root().await.unwrap_err();
    assert!(error.is_timeout() && error.may_have_run());
    assert_eq!(error.to_string(), "no answer within 7.0s, the call may have run");
    assert_eq!(start.elapsed().as_secs(), 7);
    assert!(client.ping().await.unwrap_err().is_timeout());
    assert_eq!(client.stats().calls, 0);
    let (client, _peer) = scripted(Connection::builder());
    let start = tokio::time::Instant::now();
    assert!(client.root().await.unwrap_err().is_timeout());
    assert_eq!(start.elapsed(), DEFAULT_TIMEOUT);
}

/// What a peer does not read is not kept without a bound, and a call that could not even be written
/// down has not run.
#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_holds_calls_back() {
    let (client, mut peer) = scripted(Connection::builder().compress_above(None));
    let connection = client.clone();
    let root = tokio::spawn(async move { connection.root().await });
    until(|| client.stats().calls == 1).await;
    // The answer to GETROOT: one more reference to an object of the peer's.
    peer.write_all(b"\0\0\0\x10\0\x02\x11\x50\x11\x54\x12\x08\x0e\x05a.bcd\x51").await.unwrap();
    peer.write_all(b"\x52\n").await.unwrap();
    let root = root.await.unwrap().unwrap();
    assert_eq!(root.class_name(), "a.bcd");
    let block = Parcel::bytes(vec![7; 1 << 20]);
    let calls: Vec<_> = (0..64)
        .map(|_| tokio::spawn(root.call::<()>("take", args![block]).into_future()))
        .collect();
    let mut may_have_run = 0;
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert!(error.is_timeout());
        may_have_run += usize::from(error.may_have_run());
    }
    assert!((1..16).contains(&may_have_run), "{may_have_run}");
    assert!(client.stats().unsent < 8 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_start_in_the_order_in_which_they_come() {
    let (client, _server) = pair();
    let root = client.root().await.unwrap();
    // All are written down before the first is answered.
    let calls: Vec<_> = (0..2000).map(|_| root.call::<i64>("inc", args![1])).collect();
    let mut calls: FuturesOrdered<_> = calls.into_iter().map(Call::into_future).collect();
    let mut expected = 0;
    while let Some(value) = calls.next().await {
        expected += 1;
        assert_eq!(value.unwrap(), expected);
    }
    assert_eq!(expected, 2000);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_lets_later_ones_begin() {
    let (client, _server) = pair();
    let root = client.root().await.unwrap();
    let slow = root.call::<i64>("sleep", args![1000]);
    let fast = root.call::<i64>("inc", args![1]);
    let start = tokio::time::Instant::now();
    let (slow, fast) = tokio::join!(slow.into_future(), async {
        let value = fast.await.unwrap();
        assert!(start.elapsed() < Duration::from_millis(1000));
        value
    });
    assert_eq!((slow.unwrap(), fast), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn past_the_limit_a_request_is_refused_and_the_connection_lives() {
    let limits = SessionLimits { requests: 4, ..SessionLimits::DEFAULT };
    let (client, _server) = pair_with(Connection::builder(), Connection::builder().limits(limits));
    let root = client.root().await.unwrap();
    let calls = (0..10).map(|_| root.call::<i64>("sleep", args![1000]).into_future());
    let ended = futures_util::future::join_all(calls).await;
    let (served, refused): (Vec<_>, Vec<_>) = ended.into_iter().partition(Result::is_ok);
    assert_eq!((served.len(), refused.len()), (4, 6));
    assert!(refused.into_iter().all(|error| error.unwrap_err().is("RuntimeError")));
    assert_eq!(root.call::<i64>("inc", args![1]).await.unwrap(), 5);
}

#[tokio::test]
async fn too_many_calls_fail_before_they_are_made() {
    let limits = SessionLimits { calls: 2, ..SessionLimits::DEFAULT };
    let (client, _peer) = scripted(Connection::builder().limits(limits));
    let waiting = [client.clone(), client.clone()]
        .map(|connection| tokio::spawn(async move { connection.ping().await }));
    until(|| client.stats().calls == 2).await;
    let error = client.ping().await.unwrap_err();
    assert_eq!(error.to_string(), "2 calls already wait for answers");
    assert!(!error.may_have_run());
    // Dropping it cancels it.
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    until(|| client.stats().calls == 0).await;
}

#[tokio::test]
async fn a_panic_is_told_without_its_message() {
    let (client, _server) = pair();
    let root = client.root().await.unwrap();
    let error = root.call::<()>("panic", ()).await.unwrap_err();
    assert_eq!(error.to_string(), "RuntimeError: internal error");
    assert_eq!(root.call::<i64>("inc", args![1]).await.unwrap(), 1);
}

#[tokio::test]
async fn garbage_ends_the_connection_with_a_reason() {
    let (client, mut peer) = scripted(Connection::builder());
    let connection = client.clone();
    let call = tokio::spawn(async move { connection.root().await });
    peer.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let error = call.await.unwrap().unwrap_err();
    assert!(error.is_disconnected(), "{error}");
    assert!(!client.closed().await.is_orderly());
    assert!(matches!(client.closed().await, Disconnect::Closed(_)));
    // The other side sees its end.
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn the_connection_ends_with_the_last_handle() {
    let (client, server) = pair();
    let root = client.root().await.unwrap();
    let callback = Local::function(|_| async { Ok(()) });
    root.call::<Parcel>("echo", args![&callback]).await.unwrap();
    drop(client);
    assert_eq!(root.call::<i64>("inc", args![1]).await.unwrap(), 1);
    drop(root);
    assert!(matches!(server.closed().await, Disconnect::Closed(CloseReason::Peer)));
    until(|| server.stats() == Stats::default()).await;
}

#[tokio::test]
async fn calls_under_way_fail_when_the_connection_is_closed() {
    let (client, _server) = pair();
    let root = client.root().await.unwrap();
    let call = tokio::spawn(root.call::<i64>("sleep", args![60_000]).into_future());
    until(|| client.stats().calls == 1).await;
    root.call::<i64>("inc", args![1]).await.unwrap();
    client.close().await;
    let error = call.await.unwrap().unwrap_err();
    assert!(error.is_disconnected() && error.may_have_run(), "{error}");
    let error = root.call::<()>("inc", args![1]).await.unwrap_err();
    assert_eq!(error.to_string(), "the connection has ended, the call has not run");
}

#[tokio::test]
async fn a_driver_that_is_dropped_ends_everything() {
    let (near, _far) = duplex(1 << 16);
    let (client, driver) = Connection::builder().pair(near);
    let task = tokio::spawn(driver);
    let connection = client.clone();
    let call = tokio::spawn(async move { connection.root().await });
    until(|| client.stats().calls == 1).await;
    task.abort();
    assert!(call.await.unwrap().unwrap_err().is_disconnected());
    assert!(matches!(client.closed().await, Disconnect::Aborted));
    assert!(client.ping().await.is_err());
}

#[tokio::test]
async fn the_drivers_end_is_the_end_of_all_tasks() {
    let (near, far) = duplex(1 << 16);
    let alive = Arc::new(());
    let held = alive.clone();
    let forever = Local::function(move |_| {
        let held = held.clone();
        async move {
            let () = std::future::pending().await;
            drop(held);
            Ok(())
        }
    });
    let (server, driver) = Connection::builder().serving(forever).accept(far);
    let driver = tokio::spawn(driver);
    let client = Connection::builder().over(near);
    let root = client.root().await.unwrap();
    let call = tokio::spawn(root.invoke::<()>(()).into_future());
    until(|| Arc::strong_count(&alive) == 3).await;
    drop(server);
    call.abort();
    client.close().await;
    driver.await.unwrap();
    // The function itself went with the last reference to it.
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[tokio::test]
async fn an_object_of_one_peer_is_passed_to_another() {
    let (near, _near_server) = pair();
    let (far, _far_server) = pair();
    let counter: RemoteObject = far.root().await.unwrap().call("counter", ()).await.unwrap();
    let through = near.root().await.unwrap();
    let inc: RemoteObject = counter.attr("inc").await.unwrap();
    assert_eq!(through.call::<i64>("apply", args![inc, 3]).await.unwrap(), 3);
    assert_eq!(counter.attr::<i64>("value").await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_leave_nothing_behind() {
    let (client, server) = pair();
    let root = client.root().await.unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let root = root.clone();
            tokio::spawn(async move {
                for _ in 0..200 {
                    let counter: RemoteObject = root.call("counter", ()).await.unwrap();
                    let callback = Local::function(|_| async { Ok(1) });
                    let echoed: (i64, Local) =
                        root.call("echo", args![(1, &callback)]).await.unwrap();
                    assert!(echoed.1.is_same(&callback));
                    let given_up = tokio::time::timeout(
                        Duration::ZERO,
                        counter.call::<RemoteObject>("counter", ()).into_future(),
                    );
                    drop(given_up.await);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    until(|| client.stats().exports == 0 && server.stats().exports == 1).await;
    assert_eq!((client.stats().imports, client.stats().calls), (1, 0));
    assert_eq!((server.stats().imports, server.stats().requests), (0, 0));
}

/// A connection whose sides may offer five objects each, and a function that returns its argument.
fn narrow(given: impl Fn() -> Parcel + Send + Sync + 'static) -> (Connection, Connection) {
    let (near, far) = duplex(1 << 16);
    let limits = SessionLimits { exports: 5, ..SessionLimits::DEFAULT };
    let function = Local::function(move |args: Args| {
        let given = args.into_parts().0.pop().unwrap_or_else(&given);
        async { Ok(given) }
    });
    let (server, driver) = Connection::builder().limits(limits).serving(function).accept(far);
    tokio::spawn(driver);
    (Connection::builder().limits(limits).over(near), server)
}

fn objects(count: usize) -> Parcel {
    let object = || Local::new(Counter::default()).into();
    Parcel::tuple(std::iter::repeat_with(object).take(count).collect())
}

#[tokio::test]
async fn an_answer_that_fails_half_way_keeps_no_object() {
    // The function itself is one of the five.
    let (client, server) = narrow(|| objects(5));
    let root = client.root().await.unwrap();
    for _ in 0..3 {
        let error = root.invoke::<Parcel>(()).await.unwrap_err();
        assert!(error.is("RuntimeError"), "{error:?}");
        assert_eq!(server.stats().exports, 1);
    }
    // Neither if all of them fit, but not what stands beside them.
    let deep = (0..300).fold(Value::None, |inner, _| Value::Tuple(vec![inner]));
    let (client, server) = narrow(move || Parcel::tuple(vec![objects(3), deep.clone().into()]));
    let root = client.root().await.unwrap();
    let error = root.invoke::<Parcel>(()).await.unwrap_err();
    assert!(error.is("ValueError"), "{error:?}");
    assert_eq!(server.stats().exports, 1);
}

#[tokio::test]
async fn a_request_that_fails_half_way_keeps_no_object() {
    let (client, _server) = narrow(|| Parcel::NONE);
    let root = client.root().await.unwrap();
    for _ in 0..3 {
        let error = root.invoke::<Parcel>(args![objects(6)]).await.unwrap_err();
        assert!(matches!(error, CallError::TooMany(_)), "{error:?}");
        // Some of them as positional arguments, and one too many by name.
        let args = args![objects(5)].and(kwargs! { more: objects(1) });
        let error = root.invoke::<Parcel>(args).await.unwrap_err();
        assert!(matches!(error, CallError::TooMany(_)), "{error:?}");
        assert_eq!(client.stats().exports, 0);
    }
    // What fits is passed, and comes back.
    let same: Parcel = root.invoke(args![objects(5)]).await.unwrap();
    assert_eq!(same.into_members().unwrap().len(), 5);
    until(|| client.stats().exports == 0).await;
}

/// The end of an object of the peer's needs the lock under which a request is packed.
#[tokio::test]
async fn a_request_that_fails_half_way_may_hold_the_last_reference_to_an_object() {
    let (client, server) = narrow(|| objects(1).into_members().unwrap().pop().unwrap());
    let root = client.root().await.unwrap();
    let last: RemoteObject = root.invoke(()).await.unwrap();
    let call = root.invoke::<Parcel>(args![objects(6), last]);
    drop(last);
    assert!(matches!(call.await.unwrap_err(), CallError::TooMany(_)));
    until(|| server.stats().exports == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_is_left_in_the_end() {
    let (near, far) = duplex(1 << 10);
    let (server, driver) = Connection::builder().compress_above(None).accept(far);
    let driver = tokio::spawn(driver);
    let (_reading, mut writing) = tokio::io::split(near);
    // PING with 200 bytes, many times.
    let body = [b"\x01\x11\x50\x11\x51\x11\x51\x10\x08\x0e\xc8", &[b'x'; 200][..]].concat();
    let frame =
        [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &[0], &body, b"\n"].concat();
    let start = tokio::time::Instant::now();
    for _ in 0..100 {
        writing.write_all(&frame).await.unwrap();
    }
    let reason = driver.await.unwrap();
    assert!(matches!(reason, Disconnect::Closed(CloseReason::Unread)), "{reason:?}");
    assert_eq!(start.elapsed().as_secs(), 300);
    assert_eq!(server.stats(), Stats::default());
}

/// What a peer held is dropped a part at a time, so that others get their turn.
#[tokio::test]
async fn many_objects_left_behind_are_dropped_while_others_work() {
    let (client, server) = pair();
    let root = client.root().await.unwrap();
    let mut held = Vec::new();
    for _ in 0..10 {
        let some: Vec<RemoteObject> = root.call("counters", args![1000]).await.unwrap();
        held.extend(some);
    }
    assert_eq!(server.stats().exports, 10_001);
    drop((root, held, client));
    until(|| server.stats() == Stats::default()).await;
}

#[tokio::test]
async fn the_side_that_is_connected_to_waits_for_the_first_word() {
    let (near, far) = duplex(1 << 16);
    let (server, driver) = Connection::builder().accept(far);
    tokio::spawn(driver);
    let asking = server.clone();
    let ping = tokio::spawn(async move { asking.ping().await });
    tokio::task::yield_now().await;
    assert_eq!((server.dialect(), server.stats().calls), (None, 0));
    let client = Connection::builder().dialect(Dialect::V5).over(near);
    client.root().await.unwrap();
    ping.await.unwrap().unwrap();
    assert_eq!(server.dialect(), Some(Dialect::V5));
}

/// Answers wait for a peer that does not read them, and so does what they would answer.
#[tokio::test(start_paused = true)]
async fn a_peer_that_asks_and_does_not_read_is_not_served_without_end() {
    let (near, far) = duplex(1 << 10);
    let served = Arc::new(AtomicI64::new(0));
    let count = served.clone();
    let root = Local::function(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok(Parcel::bytes(vec![7; 1 << 20])) }
    });
    let builder = Connection::builder().compress_above(None).serving(root);
    let (server, driver) = builder.accept(far);
    tokio::spawn(driver);
    let (mut reading, mut writing) = tokio::io::split(near);
    // GETROOT, and its answer, which holds the id pack to ask with.
    writing.write_all(b"\0\0\0\x08\0\x01\x11\x50\x11\x53\x11\x51\x02\n").await.unwrap();
    let mut head = [0; 5];
    reading.read_exact(&mut head).await.unwrap();
    let len = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    let mut answer = vec![0; usize::try_from(len).unwrap() + 1];
    reading.read_exact(&mut answer).await.unwrap();
    let id_pack = &answer[5..answer.len() - 1];
    let body = [b"\x01\x11\x51\x11\x57\x11\x52\x12\x11\x53", id_pack, b"\x11\x51\x02\x11\x51\x02"];
    let body = body.concat();
    let frame =
        [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &[0], &body, b"\n"].concat();
    for _ in 0..1000 {
        writing.write_all(&frame).await.unwrap();
    }
    until(|| served.load(Ordering::Relaxed) >= 4).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(served.load(Ordering::Relaxed) < 16);
    assert!(server.stats().requests > 900);
    assert!(server.stats().unsent < 16 << 20);
    drop((reading, writing));
    server.closed().await;
    until(|| server.stats() == Stats::default()).await;
}

#[test]
fn futures_may_move_between_threads() {
    fn check<T: Send + Sync>() {}
    fn check_send(_: impl Send) {}
    check::<Connection>();
    check::<RemoteObject>();
    check::<Local>();
    check::<Parcel>();
    check::<CallError>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let (client, _) = Connection::builder().pair(duplex(1).0);
    check_send(client.root());
    check_send(client.close());
    check_send(async {
        let root = client.root().await?;
        check::<PendingCall<i64>>();
        let length = root.with(async |inside: RemoteObject| inside.len().await).await?;
        let machine = Classic::over(&client).await?;
        let print = async || machine.execute("print()").await;
        machine.redirected_stdio(Stdio::default(), print).await?;
        Ok::<_, CallError>(length)
    });
}
