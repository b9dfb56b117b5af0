//! Classic mode, with `SlaveService` and with `ClassicService`, which speaks first.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};

use rpyc_client::classic::{self, Classic, Stdio};
use rpyc_client::{Parcel, RemoteObject, args, kwargs};
use rpyc_tests::Reference;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Python, run};

with_each_version! {
    modules_and_expressions,
    a_server_that_speaks_first,
    values_are_delivered,
    what_is_printed_there_arrives_here,
    the_prompt,
    files_and_trees,
    a_socket_of_the_servers,
}

fn with_machine<F: Future<Output = ()>>(
    reference: Reference,
    service: &str,
    scenario: impl FnOnce(Classic) -> F,
) {
    let python = Python::start(reference, &[service]);
    run(async {
        scenario(classic::connect(&python.address).await.unwrap()).await;
    });
}

const SLAVE: &str = "--service=slave";

pub(super) async fn uses_everything(machine: Classic) {
    let os = machine.modules("os").await.unwrap();
    let cwd: String = os.call("getcwd", ()).await.unwrap();
    assert!(cwd.starts_with('/'));
    assert!(machine.modules("no.such").await.unwrap_err().is("ModuleNotFoundError"));
    machine.execute("x = [1, 2]\ndef add(a, b=0): return a + b").await.unwrap();
    assert_eq!(machine.eval::<Vec<i64>>("x + [3]").await.unwrap(), [1, 2, 3]);
    let names = machine.namespace().await.unwrap();
    let add: RemoteObject = names.item("add").await.unwrap();
    assert_eq!(add.invoke::<i64>((args![1], kwargs! { b: 2 })).await.unwrap(), 3);
    names.set_item("y", 5).await.unwrap();
    assert_eq!(machine.eval::<i64>("y").await.unwrap(), 5);
    names.del_item("y").await.unwrap();
    assert!(machine.eval::<i64>("y").await.unwrap_err().is("NameError"));
    let map: BTreeMap<String, Vec<u8>> = machine.eval("{'a': [1], 'b': b'23'}").await.unwrap();
    assert_eq!(map["b"], b"23");
    let error = machine.eval::<i64>("1 / 0").await.unwrap_err();
    assert!(error.is("ZeroDivisionError"));
}

fn modules_and_expressions(reference: Reference) {
    with_machine(reference, SLAVE, uses_everything);
}

fn a_server_that_speaks_first(reference: Reference) {
    with_machine(reference, "--service=classic", uses_everything);
}

#[derive(Serialize)]
struct Employee {
    last: &'static str,
    salary: f64,
}

fn values_are_delivered(reference: Reference) {
    with_machine(reference, SLAVE, async |machine| {
        let value = (
            [1, -1, i64::MAX, i64::MIN],
            (u128::MAX, -(1_i128 << 90), 1.5, "é", true, ()),
            Employee { last: "Mertz", salary: 0.5 },
            BTreeMap::from([("k", vec![0_u8; 300])]),
            Parcel::bytes(*b"raw"),
        );
        let there: RemoteObject = machine.deliver(&vec![value]).await.unwrap();
        assert_eq!(there.class_name(), "builtins.list");
        let expected = "[((1, -1, 9223372036854775807, -9223372036854775808), \
            (340282366920938463463374607431768211455, -1237940039285380274899124224, 1.5, 'é', \
            True, None), {'last': 'Mertz', 'salary': 0.5}, {'k': [";
        let repr = there.repr().await.unwrap();
        assert!(repr.starts_with(expected), "{repr}");
        assert!(repr.ends_with("0]}, b'raw')]"), "{repr}");
        type Fetched = (Vec<i64>, Parcel, BTreeMap<String, serde_json::Value>, Parcel, Parcel);
        let fetched: Vec<Fetched> = machine.obtain(&there).await.unwrap();
        assert_eq!(fetched[0].2["last"], "Mertz");
    });
}

fn what_is_printed_there_arrives_here(reference: Reference) {
    with_machine(reference, SLAVE, async |machine| {
        let printed = Arc::new(Mutex::new(String::new()));
        let sink = printed.clone();
        let stdio = Stdio::default()
            .output(move |text| {
                sink.lock().unwrap().push_str(text);
                Ok(())
            })
            .input(|| Ok("typed\n".to_owned()));
        let redirected = machine.redirected_stdio(stdio).await.unwrap();
        machine.execute("print('hello', 1)\nprint(input('? ') * 2)").await.unwrap();
        redirected.restore().await.unwrap();
        machine.execute("import sys; assert sys.stdout is sys.__stdout__").await.unwrap();
        assert_eq!(*printed.lock().unwrap(), "hello 1\n? typedtyped\n");
    });
}

fn the_prompt(reference: Reference) {
    with_machine(reference, SLAVE, async |machine| {
        let printed = Arc::new(Mutex::new(String::new()));
        let [output, errors] = [printed.clone(), printed.clone()];
        let lines = Mutex::new(vec!["exit()\n", "1/0\n", "print(6 * 7)\n"]);
        let stdio = Stdio::default()
            .input(move || Ok(lines.lock().unwrap().pop().unwrap_or_default().to_owned()))
            .output(move |text| {
                output.lock().unwrap().push_str(text);
                Ok(())
            })
            .errors(move |text| {
                errors.lock().unwrap().push_str(text);
                Ok(())
            });
        machine.interact(stdio).await.unwrap();
        let printed = printed.lock().unwrap().clone();
        assert!(printed.contains(">>> 42\n"), "{printed}");
        assert!(printed.contains("ZeroDivisionError"), "{printed}");
    });
}

fn files_and_trees(reference: Reference) {
    with_machine(reference, SLAVE, async |machine| {
        let folder = tempfile::tempdir().unwrap();
        let [here, there, back] = ["here", "there", "back"].map(|name| folder.path().join(name));
        fs::create_dir_all(here.join("a/b")).unwrap();
        let noise: Vec<u8> =
            (0..3_000_001_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
        fs::write(here.join("a/noise"), &noise).unwrap();
        fs::write(here.join("a/b/empty"), b"").unwrap();
        fs::write(here.join("text"), b"line\r\n").unwrap();

        let mut seen = 0;
        let remote = there.to_str().unwrap();
        let count = |progress: classic::Progress<'_>| {
            assert!(progress.done <= progress.total);
            seen += u64::from(progress.done == progress.total);
        };
        machine.upload(&here, remote, count).await.unwrap();
        assert_eq!(seen, 2);
        machine.download(remote, &back, |_| {}).await.unwrap();
        for name in ["a/noise", "a/b/empty", "text"] {
            let [sent, stored, returned] =
                [&here, &there, &back].map(|folder| fs::read(folder.join(name)).unwrap());
            assert!(sent == stored && stored == returned, "{name}");
        }
        let error = machine.download("/no/such/file", &back, |_| {}).await.unwrap_err();
        assert!(
            error.to_string().contains("No such file or directory: '/no/such/file'"),
            "{error}"
        );
    });
}

/// "A machine outside the firewall": what only the server can reach.
fn a_socket_of_the_servers(reference: Reference) {
    with_machine(reference, SLAVE, async |machine| {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let far = tokio::spawn(async move {
            let (mut far, _) = listener.accept().await.unwrap();
            let mut heard = [0; 5];
            far.read_exact(&mut heard).await.unwrap();
            far.write_all(&heard).await.unwrap();
            far.write_all(&vec![7; 200_000]).await.unwrap();
            let mut rest = Vec::new();
            far.read_to_end(&mut rest).await.unwrap();
            rest
        });
        let mut socket = machine.connect_tcp("127.0.0.1", port).await.unwrap();
        socket.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        socket.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        let mut many = vec![0; 200_000];
        socket.read_exact(&mut many).await.unwrap();
        socket.write_all(b"goodbye").await.unwrap();
        socket.shutdown().await.unwrap();
        assert_eq!(far.await.unwrap(), b"goodbye");
        assert_eq!(socket.read(&mut heard).await.unwrap(), 0);
        // Nothing is hung up: the machine still answers.
        assert_eq!(machine.eval::<i64>("1 + 1").await.unwrap(), 2);
    });
}
