//! The scenarios of RPyC's own tests, from Python and from Rust, against Rust and Python.
//!
//! `docs/rpyc-tests.md` states for each of RPyC's tests where it is, or why it is omitted.

mod service;

use std::sync::Arc;
use std::time::Duration;

use rpyc_client::{Connection, Local, Parcel, RemoteObject, args};
use rpyc_server::{Server, ServerTls};
use rpyc_tests::{PATIENCE, Reference, python};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use self::service::{Fee, Record, Upstream};
use super::tls::Papers;

with_each_version! {
    clients_of_python_with_the_rust_service,
    clients_of_python_with_the_python_service,
    clients_of_rust_with_the_python_service,
}

/// Serves in Rust while `visit` runs with the port, then shuts down in order.
fn serve<T>(tls: Option<ServerTls>, visit: impl FnOnce(u16) -> T) -> T {
    let record = Arc::new(Record::default());
    let builder = Server::per_connection(move |_| Upstream::new(record.clone()));
    let builder = builder.bind("127.0.0.1:0");
    let builder = match tls {
        Some(tls) => builder.tls(tls),
        None => builder,
    };
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(builder.listen()).unwrap();
    let port = server.local_addr().unwrap().port();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = runtime.spawn(server.serve(stopped));
    let seen = visit(port);
    stop.send(()).unwrap();
    assert!(runtime.block_on(serving).unwrap().is_drained);
    seen
}

/// Runs all scenarios as a client in Python, and fails if one of them fails.
fn play(reference: Reference, port: u16, mode: &str, language: &str, authority: &str) {
    let script = include_str!("../../python/upstream.py");
    let arguments = [&port.to_string(), mode, language, authority];
    let Value::Object(outcomes) = python::run(reference, None, script, &arguments) else {
        panic!("no outcomes")
    };
    assert!(!outcomes.is_empty());
    let failed = outcomes.iter().filter_map(|(name, outcome)| Some((name, outcome.as_str()?)));
    let failed: Vec<_> = failed.map(|(name, told)| format!("{name}:\n{told}")).collect();
    assert!(failed.is_empty(), "{mode}\n{}", failed.join("\n"));
}

fn clients_of_python_with_the_rust_service(reference: Reference) {
    for mode in ["plain", "bind_threads", "serving"] {
        serve(None, |port| play(reference, port, mode, "rust", ""));
    }
    let papers = Papers::new();
    papers.issue("server", "127.0.0.1");
    let tls = ServerTls::new(&papers.read("server.crt"), &papers.read("server.key")).unwrap();
    let authority = papers.path("ca.pem").display().to_string();
    serve(Some(tls), |port| play(reference, port, "tls", "rust", &authority));
}

/// The control: it proves that the scenarios describe RPyC's behaviour.
fn clients_of_python_with_the_python_service(reference: Reference) {
    for mode in ["plain", "serving"] {
        with_python(reference, |port| play(reference, port, mode, "python", ""));
    }
}

fn with_python<T>(reference: Reference, visit: impl FnOnce(u16) -> T) -> T {
    let process = python::script(reference, None, "upstream_service.py", &[]);
    let port = process.wait_for("READY", |lines| {
        lines.iter().find_map(|line| line.strip_prefix("READY ")?.parse().ok())
    });
    visit(port)
}

fn clients_of_rust_with_the_python_service(reference: Reference) {
    with_python(reference, |port| super::run(play_in_rust(port, false)));
}

#[test]
fn clients_of_rust_with_the_rust_service() {
    serve(None, |port| super::run(play_in_rust(port, true)));
}

async fn connect(port: u16) -> RemoteObject {
    let connection = Connection::builder().connect(&format!("127.0.0.1:{port}")).await.unwrap();
    connection.root().await.unwrap()
}

async fn eventually(mut probe: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !probe().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}

/// The scenarios of `tests/python/upstream.py`, written as a Rust program.
async fn play_in_rust(port: u16, is_rust: bool) {
    let root = connect(port).await;
    calls(&root).await;
    objects(&root).await;
    contexts(&root).await;
    references(&root).await;
    callbacks(&root).await;
    comings_and_goings(&root, port).await;
    passed_on(&root, port).await;
    // The server passes on the root of another connection like any other object.
    let far: RemoteObject = root.call("chained", args![port]).await.unwrap();
    let point = args![(0, 0), (3, 4)];
    assert_eq!(far.call::<f64>("distance", point).await.unwrap(), 5.0);
    let std: RemoteObject = far.call("create_dataclass", ()).await.unwrap();
    assert_eq!(std.attr::<i64>("intObj").await.unwrap(), 31);
    let error = far.call::<()>("remote_assert", args![false]).await.unwrap_err();
    assert!(error.is("AssertionError"), "{error}");
    if is_rust {
        let name: String = root.call("get_service_name", ()).await.unwrap();
        assert_eq!(name, "UPSTREAM");
    }
    root.connection().close().await;
}

async fn calls(root: &RemoteObject) {
    // test_async, test_affinity, test_race: many calls wait at a time, each for its own result.
    let waiting: Vec<_> = (0..10_i64)
        .map(|x| {
            let root = root.clone();
            tokio::spawn(async move { root.call::<i64>("foo", args![x]).await.unwrap() })
        })
        .collect();
    for (x, answer) in (0_i64..).zip(waiting) {
        assert_eq!(answer.await.unwrap(), x * 17);
    }
    let slow = root.call::<i64>("foo", args![1]).timeout(Duration::from_millis(20));
    assert!(slow.await.unwrap_err().is_timeout());
    // test_remote_exception
    let error = root.call::<()>("remote_assert", args![false]).await.unwrap_err();
    let exception = error.remote().unwrap();
    assert!(exception.is_builtin("AssertionError") && exception.traceback.is_none());
    assert_eq!(exception.message(), Some("it is not so"));
    // test_custom_service
    assert_eq!(root.call::<f64>("distance", args![(2, 7), (5, 11)]).await.unwrap(), 5.0);
    assert!(root.call::<()>("foobar", ()).await.unwrap_err().is("AttributeError"));
    // test_service_pickle: much data at a time; a tuple travels by value.
    let rows: Vec<Vec<f64>> = vec![(0..30).map(f64::from).collect(); 5];
    assert_eq!(root.call::<f64>("sum_rows", args![rows]).await.unwrap(), 2175.0);
}

async fn objects(root: &RemoteObject) {
    // test_attr_access
    let chosen: RemoteObject = root.call("get_one", ()).await.unwrap();
    for (name, expected) in
        [("foo", "foo"), ("_privy", "privy"), ("exposed_foobar", "Fee Fie Foe Foo")]
    {
        assert_eq!(chosen.call::<String>(name, ()).await.unwrap(), expected);
    }
    assert_eq!(chosen.call::<String>("__add__", args!["bar"]).await.unwrap(), "foobar");
    assert!(chosen.attr::<Parcel>("spam").await.unwrap_err().is("AttributeError"));
    // test_attributes
    let properties: RemoteObject = root.call("properties", ()).await.unwrap();
    for expected in 1..=4 {
        assert_eq!(properties.attr::<i64>("counter").await.unwrap(), expected);
    }
    let error = properties.attr::<Parcel>("dont_touch_me").await.unwrap_err();
    assert!(error.is("ZeroDivisionError"), "{error}");
    // test_dataclass
    let std: RemoteObject = root.call("create_dataclass", ()).await.unwrap();
    assert_eq!(std.attr::<String>("strObj").await.unwrap(), "stdtypes string");
    assert_eq!(std.attr::<f64>("floatObj").await.unwrap(), 3.25);
    assert_eq!(std.attr::<Vec<u8>>("bytesObj").await.unwrap(), b"stdtypes bytes");
    // test_magic
    let hashed: RemoteObject = root.call("hashed", ()).await.unwrap();
    assert_eq!(hashed.hash().await.unwrap(), 1234);
    let unhashable: RemoteObject = root.call("unhashable", ()).await.unwrap();
    assert!(unhashable.hash().await.unwrap_err().is("TypeError"));
    // test_netref_hierachy, test_classic
    let list: RemoteObject = root.call("getlist", ()).await.unwrap();
    assert_eq!(list.class_name(), "builtins.list");
    let doubled: RemoteObject = list.call("__mul__", args![2]).await.unwrap();
    assert_eq!(doubled.to_vec::<i64>().await.unwrap(), [1, 2, 3, 1, 2, 3]);
}

async fn contexts(root: &RemoteObject) {
    let context: RemoteObject = root.call("context", args![3]).await.unwrap();
    let entered = context.with(async |x: i64| {
        let seen: Vec<String> = root.call("seen", ()).await?;
        assert_eq!(seen, ["enter"]);
        Ok::<_, rpyc_client::CallError>(x)
    });
    assert_eq!(entered.await.unwrap(), 20);
    assert_eq!(root.call::<Vec<String>>("seen", ()).await.unwrap(), ["enter", "exit"]);
}

async fn references(root: &RemoteObject) {
    let [one, two] = ["d1", "d2"];
    let one: RemoteObject = root.call("dummy", args![one]).await.unwrap();
    let two: RemoteObject = root.call("dummy", args![two]).await.unwrap();
    let again = two.clone();
    assert!(two.call::<RemoteObject>("itself", ()).await.unwrap().is_same(&again));
    let released = async || root.call::<Vec<String>>("deleted_objects", ()).await.unwrap();
    drop(one);
    eventually(async || released().await == ["d1"]).await;
    drop(two);
    assert_eq!(released().await, ["d1"]);
    drop(again);
    eventually(async || released().await == ["d1", "d2"]).await;
}

/// `test_threads`: the server calls the callback repeatedly while it replies to other calls.
async fn callbacks(root: &RemoteObject) {
    let (tell, mut told) = mpsc::unbounded_channel();
    let callback = Local::function(move |args| {
        let tell = tell.clone();
        async move {
            let (number,): (f64,) = args.parse()?;
            Ok(tell.send(number).is_ok())
        }
    });
    let invoker: RemoteObject = root.call("Invoker", args![callback, 0.01]).await.unwrap();
    assert_eq!(root.call::<i64>("foo", args![2]).await.unwrap(), 34);
    for _ in 0..5 {
        let told = tokio::time::timeout(PATIENCE, told.recv()).await.unwrap();
        assert_eq!(told, Some(1.5));
    }
    invoker.call::<()>("stop", ()).await.unwrap();
}

/// `test_rpyc_over_rpyc`: a server passes an object of this program on to a second server.
async fn passed_on(root: &RemoteObject, port: u16) {
    let fee = Local::new(Fee::default());
    let text: String = root.call("fee_str_beyond", args![port, &fee]).await.unwrap();
    assert_eq!(text, "Fee");
    let back: Local = root.call("fee_beyond", args![port, &fee]).await.unwrap();
    assert!(back.is_same(&fee), "what comes back is what went away");
    let back: Local = root.call("fie_update", args![port, &fee]).await.unwrap();
    assert!(back.is_same(&fee));
    assert_eq!(fee.downcast_ref::<Fee>().unwrap().msg(), "Fee fie foe foo bar");
}

async fn comings_and_goings(root: &RemoteObject, port: u16) {
    let count = async |name: &str| root.call::<i64>(name, ()).await.unwrap();
    let (connects, disconnects) = (count("connects").await, count("disconnects").await);
    let other = connect(port).await;
    eventually(async || count("connects").await == connects + 1).await;
    other.connection().close().await;
    eventually(async || count("disconnects").await > disconnects).await;
}
