//! Calls, attributes and exceptions.

use std::time::{Duration, Instant};

use rpyc_client::{Comparison, Parcel, RemoteObject, Value, args, kwargs};
use rpyc_tests::Reference;
use serde::{Deserialize, Serialize};

use super::{Python, run, with_root};

with_each_version! {
    values,
    attributes,
    special_methods,
    exceptions,
    timeouts,
    many_at_a_time,
    large_payloads,
    nothing_is_left_behind,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Record {
    name: String,
    salary: f64,
    tags: Vec<String>,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Bounds {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    minimum: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    maximum: Option<i64>,
}

fn values(reference: Reference) {
    with_root(reference, async |root| {
        let pay: f64 = root.call("get_salary", args!["Mertz", "David"]).await.unwrap();
        assert_eq!(pay, 5000.5);
        let by_name = kwargs! { last: "Mertz", first: "David" };
        assert_eq!(root.call::<f64>("get_salary", by_name).await.unwrap(), 5000.5);
        let both = (args!["Mertz"], kwargs! { first: "David" });
        assert_eq!(root.call::<f64>("get_salary", both).await.unwrap(), 5000.5);
        let record: Record = root.call("record", ()).await.unwrap();
        let tags = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(record, Record { name: "Mertz".into(), salary: 5000.5, tags });

        // A skipped field travels as None. Otherwise Python would read the next field there.
        let bounds = Bounds { minimum: None, maximum: Some(10) };
        let text: String = root.call("text_of", args![bounds]).await.unwrap();
        assert_eq!(text, "(None, 10)");
        assert_eq!(root.call::<Bounds>("echo", args![bounds]).await.unwrap(), bounds);

        let big: i128 = -(1 << 100);
        let args = args![(), true, 7, big, 1.5, "text", Parcel::bytes(*b"b"), (1, 2)];
        let types: Vec<String> = root.call("types", args).await.unwrap();
        assert_eq!(types, ["NoneType", "bool", "int", "int", "float", "str", "bytes", "tuple"]);
        assert_eq!(root.call::<i128>("echo", args![big]).await.unwrap(), big);
        for value in [Value::Ellipsis, Value::NotImplemented, Value::Complex(1.0, -2.0)] {
            let args = args![Parcel::from(value.clone())];
            let back: Parcel = root.call("echo", args).await.unwrap();
            assert_eq!(back.into_value().unwrap(), value);
        }
    });
}

fn attributes(reference: Reference) {
    with_root(reference, async |root| {
        let counter: RemoteObject = root.call("counter", args![3]).await.unwrap();
        assert_eq!(counter.class_name(), "__main__.Counter");
        counter.set_attr("value", 10).await.unwrap();
        assert_eq!(counter.attr::<i64>("value").await.unwrap(), 10);
        assert!(counter.del_attr("value").await.unwrap_err().is("AttributeError"));
        let inc: RemoteObject = counter.attr("inc").await.unwrap();
        assert_eq!(inc.invoke::<i64>(args![5]).await.unwrap(), 15);
        let same: RemoteObject = root.call("echo", args![counter]).await.unwrap();
        assert!(same.is_same(&counter) && !same.is_same(&root));
        let error = root.attr::<()>("_private").await.unwrap_err();
        assert_eq!(error.to_string(), "AttributeError: cannot access '_private'");
    });
}

fn special_methods(reference: Reference) {
    with_root(reference, async |root| {
        let counter: RemoteObject = root.call("counter", args![3]).await.unwrap();
        assert_eq!(counter.len().await.unwrap(), 3);
        assert_eq!(counter.item::<i64>(2).await.unwrap(), 2);
        assert!(counter.item::<i64>(3).await.unwrap_err().is("IndexError"));
        assert!(counter.contains(2).await.unwrap());
        assert!(!counter.contains(3).await.unwrap());
        assert_eq!(counter.str().await.unwrap(), "counter at 3");
        assert_eq!(counter.repr().await.unwrap(), "Counter(3)");
        assert_eq!(counter.hash().await.unwrap(), 3);
        assert!(counter.dir().await.unwrap().contains(&"exposed_inc".to_owned()));
        assert!(counter.methods().await.unwrap().iter().any(|(name, _)| name == "__len__"));
        assert_eq!(counter.compare(Comparison::Eq, 3).await.unwrap(), Some(true));
        assert_eq!(counter.compare(Comparison::Lt, 3).await.unwrap(), Some(false));
        assert_eq!(counter.to_vec::<i64>().await.unwrap(), [0, 1, 2]);
        let within = counter.with(async |inside: RemoteObject| inside.len().await).await;
        assert_eq!(within.unwrap(), 103);
        assert_eq!(counter.len().await.unwrap(), 3);
        assert!(counter.attr::<bool>("left").await.unwrap());
    });
}

fn exceptions(reference: Reference) {
    with_root(reference, async |root| {
        let error = root.call::<()>("fail", args!["ValueError", "wrong"]).await.unwrap_err();
        assert!(error.is("ValueError") && error.is_remote() && error.may_have_run());
        assert_eq!(error.to_string(), "ValueError: wrong");
        let exception = error.remote().unwrap();
        assert_eq!(exception.args, [Value::from("wrong")]);
        assert!(exception.traceback.as_ref().unwrap().contains("exposed_fail"));

        let error = root.call::<()>("fail", args!["Ledger", "torn"]).await.unwrap_err();
        assert!(error.is("__main__.Ledger"), "{error:?}");
        assert_eq!(error.remote().unwrap().attribute("page"), Some(&Value::from(7)));

        let error = root.call::<()>("missing_file", ()).await.unwrap_err();
        assert!(error.is("FileNotFoundError"));
        assert_eq!(error.remote().unwrap().attribute("errno"), Some(&Value::from(2)));

        assert!(root.call::<()>("fail", ()).await.unwrap_err().is("TypeError"));
        let error = root.call::<i64>("echo", args!["text"]).await.unwrap_err();
        assert!(!error.is_remote() && error.may_have_run(), "{error}");
    });
}

fn timeouts(reference: Reference) {
    with_root(reference, async |root| {
        let start = Instant::now();
        let slow = root.call::<f64>("sleep", args![1.0]).timeout(Duration::from_millis(100));
        let error = slow.await.unwrap_err();
        assert!(error.is_timeout() && error.may_have_run(), "{error}");
        assert!(start.elapsed() < Duration::from_secs(1));
        // A cancelled call leaves the connection usable.
        let given_up = root.call::<f64>("sleep", args![0.2]).into_future();
        assert!(tokio::time::timeout(Duration::from_millis(50), given_up).await.is_err());
        assert_eq!(root.call::<i64>("echo", args![1]).await.unwrap(), 1);
        assert_eq!(root.connection().stats().calls, 0);
    });
}

fn many_at_a_time(reference: Reference) {
    with_root(reference, async |root| {
        let tasks: Vec<_> = (0..500_i64)
            .map(|number| {
                let root = root.clone();
                tokio::spawn(async move {
                    assert_eq!(root.call::<i64>("echo", args![number]).await.unwrap(), number);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

fn large_payloads(reference: Reference) {
    with_root(reference, async |root| {
        let payload: Vec<u8> = root.call("payload", args![8 << 20]).await.unwrap();
        assert!(payload.len() == 8 << 20 && payload.iter().all(|&byte| byte == 0xa5));
        let noise: Vec<u8> =
            (0..4_u32 << 20).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
        let back: Vec<u8> = root.call("echo", args![Parcel::bytes(noise.clone())]).await.unwrap();
        assert!(back == noise);
    });
}

fn nothing_is_left_behind(reference: Reference) {
    let python = Python::start(reference, &[]);
    run(async {
        let root = python.connect().await.root().await.unwrap();
        for _ in 0..50 {
            let _: RemoteObject = root.call("counter", ()).await.unwrap();
            let _: Parcel = root.call("list", args![3]).await.unwrap();
        }
        // Only the root remains.
        assert_eq!(root.call::<i64>("live", ()).await.unwrap(), 1);
        let stats = root.connection().stats();
        assert_eq!((stats.imports, stats.exports, stats.calls), (1, 0, 0));
    });
}
