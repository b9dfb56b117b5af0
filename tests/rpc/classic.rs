//! Classic mode, with `SlaveService` and with `ClassicService`, which speaks first.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpyc_client::classic::{self, Classic, Stdio, TransferError};
use rpyc_client::{Connection, Parcel, RemoteObject, args, kwargs};
use rpyc_tests::Reference;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Python, run};

with_each_version! {
    modules_and_expressions,
    a_server_that_speaks_first,
    values_are_delivered,
    what_is_printed_there_arrives_here,
    streams_are_restored_after_whatever,
    without_async,
    options_and_a_server_that_speaks_first,
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

fn options_and_a_server_that_speaks_first(reference: Reference) {
    let python = Python::start(reference, &["--service=classic"]);
    run(async {
        let hasty = Connection::builder().timeout(Duration::from_millis(800));
        let machine = hasty.connect_classic(&python.address).await.unwrap();
        let join = machine.modules("os.path").call("join", args!["a", "b"]);
        let maxsize = machine.modules("sys").attr("maxsize");
        let len = machine.builtins().call("len", args!["four"]);
        let all: (String, i64, i64) = tokio::try_join!(join, maxsize, len).unwrap();
        assert_eq!(all, ("a/b".into(), i64::MAX, 4));
        let missing = machine.modules("no.such").call::<()>("function", ()).await;
        assert!(missing.unwrap_err().is("ModuleNotFoundError"));
        assert!(machine.execute("import time; time.sleep(1)").await.unwrap_err().is_timeout());
    });
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
        let statements = "print('hello', 1)\nprint(input('? ') * 2)";
        let done =
            machine.redirected_stdio(stdio, async || machine.execute(statements).await).await;
        done.unwrap();
        machine.execute(UNCHANGED).await.unwrap();
        assert_eq!(*printed.lock().unwrap(), "hello 1\n? typedtyped\n");
    });
}

/// Asserts that all standard streams are the original ones.
const UNCHANGED: &str = "import sys\n\
    assert (sys.stdin, sys.stdout, sys.stderr) == (sys.__stdin__, sys.__stdout__, sys.__stderr__)";

/// The next client finds the original streams, however a redirection ended.
fn streams_are_restored_after_whatever(reference: Reference) {
    let server = crate::guide::Classic::start(reference);
    let address = &server.address;
    let check = async || {
        let next = classic::connect(address).await.unwrap();
        // The server handles each connection in a separate thread, so it may restore the streams
        // after this client connects.
        let restored = async || next.execute(UNCHANGED).await.ok();
        let patience = tokio::time::timeout(rpyc_tests::PATIENCE, async {
            while restored().await.is_none() {
                tokio::task::yield_now().await;
            }
        });
        patience.await.unwrap();
    };
    run(async {
        let machine = classic::connect(address).await.unwrap();
        // The redirected code fails.
        let fails = async || machine.eval::<i64>("1 / 0").await;
        let error = machine.redirected_stdio(Stdio::default(), fails).await.unwrap_err();
        assert!(error.is("ZeroDivisionError"));
        check().await;
        // The client drops the guard together with its connection.
        let redirected = machine.redirect_stdio(Stdio::default()).await.unwrap();
        machine.execute("import sys; assert sys.stdout is not sys.__stdout__").await.unwrap();
        drop((redirected, machine));
        check().await;
        // The client drops the future while the server is busy.
        let machine = classic::connect(address).await.unwrap();
        machine.execute("import threading; go_on = threading.Event()").await.unwrap();
        let (started, has_started) = tokio::sync::oneshot::channel();
        let waits = async || {
            started.send(()).unwrap();
            machine.execute("go_on.wait(0.2)").await
        };
        tokio::select! {
            biased;
            _ = machine.redirected_stdio(Stdio::default(), waits) => panic!("it ended"),
            _ = has_started => {}
        }
        drop(machine);
        check().await;
    });
}

/// All of classic mode in a program without async, with the real `rpyc_classic`.
fn without_async(reference: Reference) {
    use rpyc_client::blocking::classic::{Classic, connect};
    let server = crate::guide::Classic::start(reference);
    let machine = connect(&server.address).unwrap();
    let cwd: String = machine.modules("os").unwrap().call("getcwd", ()).unwrap();
    assert!(cwd.starts_with('/'));
    assert_eq!(machine.builtins().unwrap().call::<i64>("len", args!["four"]).unwrap(), 4);
    assert_eq!(machine.modules("sys").unwrap().attr::<i64>("maxsize").unwrap(), i64::MAX);
    machine.execute("def add(a, b=0): return a + b").unwrap();
    let add: rpyc_client::blocking::RemoteObject =
        machine.namespace().unwrap().item("add").unwrap();
    assert_eq!(add.invoke::<i64>((args![1], kwargs! { b: 2 })).unwrap(), 3);
    assert_eq!(machine.eval::<i64>("add(2, 3)").unwrap(), 5);
    let hasty = machine.with_timeout(Duration::from_millis(20));
    assert!(hasty.execute("import time; time.sleep(0.1)").unwrap_err().is_timeout());

    let delivered: rpyc_client::blocking::RemoteObject = machine.deliver(&vec![1, 2]).unwrap();
    machine.namespace().unwrap().set_item("delivered", &delivered).unwrap();
    machine.execute("delivered = list(delivered) + [3]").unwrap();
    let grown: rpyc_client::blocking::RemoteObject = machine.eval("delivered").unwrap();
    assert_eq!(machine.obtain::<Vec<i64>>(&grown).unwrap(), [1, 2, 3]);

    let printed = Arc::new(Mutex::new(String::new()));
    let sink = printed.clone();
    let stdio = Stdio::default().output(move |text| {
        sink.lock().unwrap().push_str(text);
        Ok(())
    });
    let failed = machine.redirected_stdio(stdio, || {
        machine.execute("print('hello')")?;
        machine.eval::<i64>("1 / 0")
    });
    assert!(failed.unwrap_err().is("ZeroDivisionError"));
    assert_eq!(*printed.lock().unwrap(), "hello\n");
    machine.execute(UNCHANGED).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let [here, there, back] = ["here", "there", "back"].map(|name| folder.path().join(name));
    fs::write(&here, b"content").unwrap();
    let there = there.to_str().unwrap();
    let mut is_told = false;
    machine.upload(&here, there, |progress| is_told |= progress.done == 7).unwrap();
    machine.download(there, &back, |_| {}).unwrap();
    assert!(is_told && fs::read(&back).unwrap() == b"content");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let echoing = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        stream.write_all(heard.to_uppercase().as_bytes()).unwrap();
    });
    let mut socket = machine.connect_tcp("127.0.0.1", port).unwrap();
    socket.write_all(b"loud").unwrap();
    socket.shutdown_write().unwrap();
    let mut heard = String::new();
    socket.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "LOUD");
    echoing.join().unwrap();

    let same = Classic::over(&machine.connection()).unwrap();
    assert_eq!(same.eval::<i64>("add(1)").unwrap(), 1);
    assert_eq!(same.connection(), machine.connection());
    machine.connection().close();
    assert!(same.eval::<i64>("1").unwrap_err().is_disconnected());
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
        // The tree has six files and folders, which count as 4 KiB each besides the content.
        let (enough, again) = (3_000_001 + 6 + 6 * 4096, folder.path().join("again"));
        machine.download_at_most(remote, &again, enough, |_| {}).await.unwrap();
        for limit in [0, 3 * 4096, 3_000_000, enough - 1] {
            let error = machine.download_at_most(remote, &again, limit, |_| {}).await.unwrap_err();
            assert!(matches!(error, TransferError::TooLong { .. }), "{error}");
            assert!(error.to_string().contains(&limit.to_string()), "{error}");
        }
        // A file that says nothing of its length and never ends.
        let end = folder.path().join("end");
        let error = machine.download_at_most("/dev/zero", &end, 5_000_000, |_| {}).await;
        assert!(matches!(error, Err(TransferError::TooLong { .. })), "{error:?}");
        assert!(fs::metadata(&end).unwrap().len() <= 5_000_000);
        let error = machine.download("/no/such/file", &back, |_| {}).await.unwrap_err();
        assert!(
            error.to_string().contains("No such file or directory: '/no/such/file'"),
            "{error}"
        );
    });
}

/// "A machine outside the firewall": an address that only the server can reach.
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
        // The connection stays open: the machine still replies.
        assert_eq!(machine.eval::<i64>("1 + 1").await.unwrap(), 2);
    });
}
