//! A Rust program as a gateway: Python clients use objects of a server that they cannot reach.

use std::process::Command;

use rpyc_client::{RemoteObject, connect};
use rpyc_server::{Server, service};
use rpyc_tests::process::Process;
use rpyc_tests::{Reference, examples, python};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::conformance::{self, Language, SCENARIOS, failures};

with_each_version! {
    a_gateway_is_as_good_as_the_server,
    a_service_hands_on_what_it_was_given,
    a_gateway_passes_on_the_root_of_the_client,
}

/// Every scenario of the conformance service passes through the gateway between any two versions,
/// even between those that cannot communicate directly.
fn a_gateway_is_as_good_as_the_server(reference: Reference) {
    for far in Reference::ALL {
        let server = conformance::Server::start(Language::Python(far), &[]);
        let mut gateway = examples::rust("gateway");
        gateway.args(["127.0.0.1:0", &format!("127.0.0.1:{}", server.port)]);
        let gateway = Process::start("the gateway", gateway);
        let port = gateway.wait_for("address", |lines| {
            lines.iter().find_map(|line| line.rsplit_once(':')?.1.parse().ok())
        });
        let mode = if far == reference { "serving" } else { "plain" };
        let failed = failures(reference, port, SCENARIOS, &[mode, "python"]);
        let told: Vec<_> = failed.iter().map(|(name, why)| format!("{name}:\n{why}")).collect();
        assert!(failed.is_empty(), "{far:?}: {}\n{}", told.join("\n"), gateway.stderr());
    }
}

/// The server uses the client's root, on connect and in a call, as without a gateway.
fn a_gateway_passes_on_the_root_of_the_client(reference: Reference) {
    let server = "
import rpyc, sys
from rpyc.utils.server import ThreadedServer
class Asking(rpyc.Service):
    def on_connect(self, conn):
        self.conn = conn
        print('came', flush=True)
    def exposed_ask(self, number):
        root = self.conn.root
        return root.double(number), root.echo(root) == root, root.make()(number)
    def on_disconnect(self, conn):
        print('left', flush=True)
server = ThreadedServer(Asking, hostname='127.0.0.1', port=0)
print(f'listening on {server.host}:{server.port}', flush=True)
server.start()
";
    let client = "
import json, rpyc, sys
class Client(rpyc.Service):
    def exposed_double(self, number):
        return number * 2
    def exposed_echo(self, value):
        assert value is self, value
        return value
    def exposed_make(self):
        return lambda number: number + 1
conn = rpyc.connect('127.0.0.1', int(sys.argv[1]), service=Client())
print(json.dumps([conn.root.ask(n) for n in range(3)]))
conn.close()
";
    let expected = json!([[0, true, 1], [2, true, 2], [4, true, 3]]);
    let port = |process: &Process| -> String {
        process.wait_for("address", |lines| Some(lines.first()?.rsplit_once(':')?.1.to_owned()))
    };
    for far in Reference::ALL {
        let mut command = Command::new(far.python());
        command.args(["-c", server]);
        let server = Process::start("the server", command);
        let server_port = port(&server);
        let mut gateway = examples::rust("gateway");
        gateway.args(["127.0.0.1:0", &format!("127.0.0.1:{server_port}")]);
        let gateway = Process::start("the gateway", gateway);
        let gateway_port = port(&gateway);
        // A direct RPyC connection is the control where both versions use the same dialect.
        let direct = (far == reference).then_some(&server_port);
        let ways: Vec<_> = direct.into_iter().chain([&gateway_port, &gateway_port]).collect();
        for way in &ways {
            assert_eq!(python::run(reference, None, client, &[way]), expected, "{far:?}");
        }
        // The gateway closes its connection to the server when the client's connection ends.
        server.wait_for("the end of all connections", |lines| {
            let [came, left] =
                ["came", "left"].map(|word| lines.iter().filter(|line| *line == word).count());
            (left == came && came >= ways.len()).then_some(())
        });
    }
}

/// A service that passes on objects of another server.
struct Middle {
    far: RemoteObject,
}

#[service]
impl Middle {
    async fn counter(&self, start: i64) -> RemoteObject {
        self.far.call("counter", rpyc_client::args![start]).await.unwrap()
    }

    async fn table(&self) -> RemoteObject {
        self.far.call("table", ()).await.unwrap()
    }

    /// What comes back is what was given away.
    async fn value_of(&self, counter: RemoteObject) -> i64 {
        assert_eq!(counter.connection(), self.far.connection());
        counter.attr("value").await.unwrap()
    }
}

fn a_service_hands_on_what_it_was_given(reference: Reference) {
    let far = conformance::Server::start(Language::Python(reference), &[]);
    let runtime = Runtime::new().unwrap();
    let (server, root) = runtime.block_on(async {
        let root = connect(format!("127.0.0.1:{}", far.port)).await.unwrap().root().await.unwrap();
        let middle = Middle { far: root.clone() };
        (Server::builder(middle).bind("127.0.0.1:0").listen().await.unwrap(), root)
    });
    let port = server.local_addr().unwrap().port().to_string();
    let held = root.connection().stats().imports;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = runtime.spawn(server.serve(stopped));
    let client = "
import json, sys, rpyc
conn = rpyc.connect('127.0.0.1', int(sys.argv[1]))
root = conn.root
counter = root.counter(3)
assert counter.inc() == 4 and counter.value == 4 and len(counter) == 4 and counter[2] == 2
counter.value = 5
assert list(counter) == [0, 1, 2, 3, 4] and 4 in counter and 5 not in counter
assert str(counter) == 'counter at 5' and repr(counter) == 'Counter(5)'
assert counter == root.counter(5) and counter != root.counter(6) and counter != 5
assert hash(counter) == hash(root.counter(5))
with counter as inside:
    assert inside is counter and counter.value == 105
assert counter.value == 5
assert 'value' in {name.replace('exposed_', '') for name in dir(counter)}
for wrong in (lambda: counter.nothing, lambda: counter[7], lambda: setattr(counter, 'other', 1)):
    try:
        wrong()
    except (AttributeError, IndexError) as error:
        pass
    else:
        raise AssertionError('nothing was raised')
assert list(rpyc.buffiter(counter, 2)) == [0, 1, 2, 3, 4]
assert root.value_of(counter) == 5
table = root.table()
assert isinstance(table, list) and isinstance(table[2], dict)
table[2]['four'] = 4
del table[0]
assert repr(table) == \"['two', {'three': 3, 'four': 4}]\"
del counter, inside, table
print(json.dumps('done'))
";
    assert_eq!(python::run(reference, None, client, &[&port]), json!("done"));
    runtime.block_on(async {
        stop.send(()).unwrap();
        serving.await.unwrap();
        // The gateway has released the objects that the client released.
        assert_eq!(root.connection().stats().imports, held);
    });
}
