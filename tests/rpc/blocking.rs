//! Programs without async, and servers behind pipes.

use std::collections::BTreeMap;
use std::time::Duration;

use rpyc_client::{Connection, Dialect, args, blocking};
use rpyc_tests::Reference;

use super::{Python, run};

with_each_version! {
    everything,
    a_child_behind_pipes,
}

fn everything(reference: Reference) {
    let python = Python::start(reference, &[]);
    let connection = blocking::connect(&python.address).unwrap();
    let root = connection.root().unwrap();
    assert!(connection.ping().unwrap() < Duration::from_secs(5));
    assert_eq!(root.call::<f64>("get_salary", args!["Mertz", "David"]).unwrap(), 5000.5);
    let counter: blocking::RemoteObject = root.call("counter", args![3]).unwrap();
    let items: Result<Vec<i64>, _> = counter.items().unwrap().collect();
    assert_eq!(items.unwrap(), [0, 1, 2]);
    let within = counter.with(|inside: blocking::RemoteObject| inside.len());
    assert_eq!(within.unwrap(), 103);
    assert_eq!(counter.len().unwrap(), 3);
    let map: BTreeMap<String, i64> = root.call("dict", args![2]).unwrap();
    assert_eq!(map.len(), 2);
    let slow = root.with_timeout(Duration::from_millis(50));
    assert!(slow.call::<()>("sleep", args![0.3]).unwrap_err().is_timeout());
    let mut slow = root.spawn_call::<f64>("sleep", args![0.2]);
    assert!(!slow.is_ready() && slow.try_result().is_none());
    let ended = rpyc_tests::eventually("the end", rpyc_tests::PATIENCE, || slow.try_result());
    assert_eq!(ended.unwrap(), 0.2);
    let echo: blocking::RemoteObject = root.attr("echo").unwrap();
    assert_eq!(echo.spawn_invoke::<i64>(args![4]).wait().unwrap(), 4);
    // A local function may itself wait for the peer.
    let calling = root.clone();
    let twice = blocking::function(move |args| {
        let (number,): (i64,) = args.parse()?;
        let echoed: i64 = calling.call("echo", args![number])?;
        Ok(echoed * 2)
    });
    assert_eq!(root.call::<i64>("apply", args![twice, 4]).unwrap(), 8);
    connection.close();
    assert!(connection.closed().is_orderly());
}

fn a_child_behind_pipes(reference: Reference) {
    run(async {
        let mut program = tokio::process::Command::new(reference.python());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/service.py");
        program.arg(script).arg("--stdio");
        let dialect = match reference {
            Reference::Rpyc5 => Dialect::V5,
            Reference::Rpyc6 => Dialect::V6,
        };
        let (connection, mut child) =
            Connection::builder().dialect(dialect).spawn(program).unwrap();
        let root = connection.root().await.unwrap();
        assert_eq!(root.call::<i64>("echo", args![7]).await.unwrap(), 7);
        connection.close().await;
        // The exit status does not matter: rpyc 6 fails while it closes its own pipes.
        child.wait().await.unwrap();
    });
}
