//! The content of lists, dicts and iterators.

use std::collections::{BTreeMap, HashMap};

use std::time::{Duration, Instant};

use rpyc_client::{CallError, Connection, Parcel, RemoteObject, args};
use rpyc_tests::Reference;

use super::{Python, run, with_root};

with_each_version! {
    lists,
    dicts,
    nested,
    iterators,
    a_timeout_bounds_all_round_trips,
}

fn lists(reference: Reference) {
    with_root(reference, async |root| {
        let list: RemoteObject = root.call("list", args![5]).await.unwrap();
        assert_eq!(list.class_name(), "builtins.list");
        assert_eq!(list.to_vec::<i64>().await.unwrap(), [0, 1, 2, 3, 4]);
        assert_eq!(list.item::<i64>(-1).await.unwrap(), 4);
        let numbers: Vec<usize> = root.call("list", args![10_000]).await.unwrap();
        assert!(numbers.iter().copied().eq(0..10_000));
        let none: Vec<usize> = root.call("list", args![0]).await.unwrap();
        assert!(none.is_empty());
        let three: (u8, u8, u8) = root.call("list", args![3]).await.unwrap();
        assert_eq!(three, (0, 1, 2));
    });
}

fn dicts(reference: Reference) {
    with_root(reference, async |root| {
        let dict: RemoteObject = root.call("dict", args![3]).await.unwrap();
        let expected = [("key 0", 0), ("key 1", 1), ("key 2", 2)];
        let map: BTreeMap<String, i64> = dict.to_map().await.unwrap();
        assert!(map.iter().map(|(key, value)| (&**key, *value)).eq(expected));
        assert_eq!(dict.item::<i64>("key 2").await.unwrap(), 2);
        assert!(dict.item::<i64>("key 3").await.unwrap_err().is("KeyError"));
        let map: HashMap<String, i64> = root.call("dict", args![5000]).await.unwrap();
        assert_eq!(map.len(), 5000);
    });
}

fn nested(reference: Reference) {
    with_root(reference, async |root| {
        type Table = (i64, String, BTreeMap<String, Vec<i64>>);
        let table: Table = root.call("table", ()).await.unwrap();
        assert_eq!(table, (1, "two".into(), BTreeMap::from([("three".into(), vec![3; 3])])));
        let json: serde_json::Value = root.call("table", ()).await.unwrap();
        assert_eq!(json, serde_json::json!([1, "two", {"three": [3, 3, 3]}]));
    });
}

fn iterators(reference: Reference) {
    with_root(reference, async |root| {
        let numbers: RemoteObject = root.call("numbers", args![100]).await.unwrap();
        let mut items = numbers.items().await.unwrap();
        let mut expected = 0;
        while let Some(number) = items.next::<i64>().await.unwrap() {
            assert_eq!(number, expected);
            expected += 1;
        }
        assert_eq!(expected, 100);
        assert!(items.next::<i64>().await.unwrap().is_none());
        let all: Vec<usize> = root.call("numbers", args![9000]).await.unwrap();
        assert!(all.iter().copied().eq(0..9000));
    });
}

/// Each level takes a tenth of a second, so no single round trip exceeds the timeout.
fn a_timeout_bounds_all_round_trips(reference: Reference) {
    let python = Python::start(reference, &[]);
    let limit = Duration::from_millis(400);
    let check = |start: Instant, error: CallError| {
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert!(error.is_timeout() && error.may_have_run(), "{error}");
        assert!(error.to_string().starts_with("no answer within 400.0ms"), "{error}");
    };
    run(async {
        let root = python.connect().await.root().await.unwrap();
        let start = Instant::now();
        let call = root.call::<Vec<Parcel>>("slowly_nested", args![40]).timeout(limit);
        check(start, call.await.unwrap_err());
        let start = Instant::now();
        let call = root.call::<Vec<Parcel>>("slowly_nested", args![40]).timeout(limit);
        check(start, call.spawn().await.unwrap_err());
        // Without a timeout, the call fetches a deep list.
        let call = root.call::<Vec<Parcel>>("slowly_nested", args![5]).timeout(None);
        assert_eq!(call.await.unwrap().len(), 1);

        // The timeout of the connection works in the same way.
        let short = python.connect_with(Connection::builder().timeout(limit)).await;
        let root = short.root().await.unwrap();
        let start = Instant::now();
        check(start, root.call::<Vec<Parcel>>("slowly_nested", args![40]).await.unwrap_err());
        for way in 0..3 {
            let nested = root.call::<RemoteObject>("slowly_nested", args![40]).await.unwrap();
            let start = Instant::now();
            let error = match way {
                0 => nested.fetch::<Vec<Parcel>>().await.unwrap_err(),
                1 => nested.to_vec::<Vec<Parcel>>().await.unwrap_err(),
                _ => nested.items().await.unwrap().next::<Vec<Parcel>>().await.unwrap_err(),
            };
            check(start, error);
        }
    });
    let connection = rpyc_client::blocking::connect(&python.address).unwrap();
    let root = connection.root().unwrap().with_timeout(limit);
    let start = Instant::now();
    check(start, root.call::<Vec<Parcel>>("slowly_nested", args![40]).unwrap_err());
    let nested = || {
        let nested = root.call::<rpyc_client::blocking::RemoteObject>("slowly_nested", args![40]);
        nested.unwrap().with_timeout(limit)
    };
    let (first, second) = (nested(), nested());
    let start = Instant::now();
    check(start, first.to_vec::<Vec<Parcel>>().unwrap_err());
    let start = Instant::now();
    check(start, second.items::<Vec<Parcel>>().unwrap().next().unwrap().unwrap_err());
}
