//! Servers in Rust with settings that the conformance service lacks, and real RPyC clients.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rpyc_client::{Connection, Fingerprint, Peer, Tls};
use rpyc_server::{BoundAddr, Context, Local, Server, ServerBuilder, ServerTls, object, service};
use rpyc_tests::{Reference, Scratch, examples, python};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::tls::Papers;

with_each_version! {
    clients_come_over_tls_and_show_who_they_are,
    clients_with_certificates_of_their_own_are_pinned,
    clients_come_over_unix_sockets,
    a_client_starts_its_server,
    what_is_called_like_a_class_makes_objects,
}

/// A service that returns each client's identity.
#[derive(Default)]
struct Door {
    seen: Arc<Mutex<Vec<Peer>>>,
}

type Who = (Option<String>, Option<String>, Option<(u32, u32, Option<i32>)>);

fn who(peer: &Peer) -> Who {
    let credentials = peer.credentials.map(|told| (told.user, told.group, told.process));
    (
        peer.ip().map(|ip| ip.to_string()),
        peer.fingerprint().map(|fingerprint| fingerprint.to_string()),
        credentials,
    )
}

#[service]
impl Door {
    fn on_connect(&self, peer: &Peer) {
        self.seen.lock().unwrap().push(peer.clone());
    }

    fn on_disconnect(&self, connection: &Connection) {
        self.seen.lock().unwrap().push(connection.peer().clone());
    }

    fn has_certificate(&self, peer: &Peer) -> bool {
        peer.certificate.is_some()
    }

    fn who(&self, context: &Context) -> Who {
        who(context.peer())
    }

    fn key(&self) -> Local {
        Local::new(Key)
    }
}

/// A plain object, which knows its client just as a service does.
struct Key;

#[object]
impl Key {
    #[service(get)]
    fn who(&self, peer: &Peer) -> Who {
        who(peer)
    }
}

fn door() -> ServerBuilder<Door> {
    Server::builder(Door::default())
}

/// Serves while `visit` runs, then shuts down in order.
fn serve<T>(builder: ServerBuilder<Door>, visit: impl FnOnce(Option<SocketAddr>) -> T) -> T {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(builder.listen()).unwrap();
    let addr = server.local_addr();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = runtime.spawn(server.serve(stopped));
    let seen = visit(addr);
    stop.send(()).unwrap();
    assert!(runtime.block_on(serving).unwrap().is_drained);
    seen
}

fn clients_come_over_tls_and_show_who_they_are(reference: Reference) {
    let papers = Papers::new();
    papers.issue("server", "127.0.0.1");
    papers.issue("client", "client");
    let tls = ServerTls::new(&papers.read("server.crt"), &papers.read("server.key")).unwrap();
    let identity = ["client.crt", "client.key"].map(|name| papers.path(name).display().to_string());
    let visit = |addr, identity| ssl_connect(reference, &papers, "ca.pem", addr, identity);
    let open = door().bind("127.0.0.1:0").tls(tls.clone());
    let [who, key] =
        serve(open, |addr| visit(addr, &[])).as_array().unwrap().clone().try_into().unwrap();
    assert_eq!((&who, &key), (&json!(["127.0.0.1", null, null]), &who));

    let tls = tls.requiring_clients_of(&papers.read("ca.pem")).unwrap();
    let shown = Fingerprint::of(&papers.read("client.crt")).unwrap();
    serve(door().bind("127.0.0.1:0").tls(tls), |addr| {
        assert_eq!(visit(addr, &[]), json!("refused"));
        let who = json!(["127.0.0.1", shown.to_string(), null]);
        assert_eq!(visit(addr, &identity), json!([who, who]));
        super::run(async {
            let tls = Tls::with_authorities(&papers.read("ca.pem")).unwrap();
            let tls =
                tls.with_identity(&papers.read("client.crt"), &papers.read("client.key")).unwrap();
            let address = addr.unwrap();
            let connection = Connection::builder().tls(tls).connect(address).await.unwrap();
            // Each end knows the identity of the other.
            assert_eq!(connection.peer_addr(), Some(address));
            let server = Fingerprint::of(&papers.read("server.crt")).unwrap();
            assert_eq!(connection.peer().fingerprint(), Some(server));
            let root = connection.root().await.unwrap();
            assert!(root.call::<bool>("has_certificate", ()).await.unwrap());
        });
    });
}

/// The identity that a Python client receives over TLS, from the service and from an object.
fn ssl_connect(
    reference: Reference,
    papers: &Papers,
    authority: &str,
    addr: Option<SocketAddr>,
    identity: &[String],
) -> Value {
    let script = "
import json, sys, rpyc
port, authority, *identity = sys.argv[1:]
try:
    files = dict(zip(('certfile', 'keyfile'), identity))
    conn = rpyc.ssl_connect('127.0.0.1', int(port), ca_certs=authority, **files)
    print(json.dumps([conn.root.who(), conn.root.key().who]))
except (EOFError, OSError):
    print(json.dumps('refused'))
";
    let (port, authority) = (addr.unwrap().port().to_string(), papers.path(authority));
    let mut arguments = vec![&*port, authority.to_str().unwrap()];
    arguments.extend(identity.iter().map(|path| &**path));
    python::run(reference, None, script, &arguments)
}

fn clients_with_certificates_of_their_own_are_pinned(reference: Reference) {
    let papers = Papers::new();
    papers.issue("server", "127.0.0.1");
    papers.issue("issued", "client");
    let identity = |name: &str| {
        ["crt", "key"].map(|kind| papers.path(&format!("{name}.{kind}")).display().to_string())
    };
    let der = papers.self_sign("david");
    papers.self_sign("ada");
    papers.self_sign("stranger");
    let tls = ServerTls::new(&papers.read("server.crt"), &papers.read("server.key")).unwrap();
    let david = Fingerprint::of(&der).unwrap();
    let ada = Fingerprint::of(&papers.read("ada.crt")).unwrap();
    let ada: Fingerprint = ada.to_string().parse().unwrap();
    let pinning = tls.clone().pinning_clients([david, ada]).unwrap();
    let visit = |addr, name: &str| ssl_connect(reference, &papers, "ca.pem", addr, &identity(name));
    let told = |who: Fingerprint| {
        let who = json!(["127.0.0.1", who.to_string(), null]);
        json!([who, who])
    };
    serve(door().bind("127.0.0.1:0").tls(pinning.clone()), |addr| {
        assert_eq!(visit(addr, "david"), told(david));
        assert_eq!(visit(addr, "ada"), told(ada));
        assert_eq!(visit(addr, "stranger"), json!("refused"));
        assert_eq!(visit(addr, "issued"), json!("refused"));
        assert_eq!(ssl_connect(reference, &papers, "ca.pem", addr, &[]), json!("refused"));
    });
    // Accepts pinned certificates in addition to those that an authority signed.
    let both = pinning.requiring_clients_of(&papers.read("ca.pem")).unwrap();
    serve(door().bind("127.0.0.1:0").tls(both), |addr| {
        assert_eq!(visit(addr, "david"), told(david));
        assert_eq!(visit(addr, "issued")[0][0], json!("127.0.0.1"));
        assert_eq!(visit(addr, "stranger"), json!("refused"));
    });
    let nobody = tls.pinning_clients([]).unwrap();
    serve(door().bind("127.0.0.1:0").tls(nobody), |addr| {
        assert_eq!(visit(addr, "david"), json!("refused"));
    });
}

/// A service that offers factories where Python has classes.
struct Bank;

#[service]
impl Bank {
    /// An account.
    #[service(name = "Account")]
    fn open(&self, start: i64) -> Local {
        Local::new(Account(start))
    }

    /// As an attribute that is called, too.
    #[service(get, name = "Purse")]
    fn purse(&self) -> Local {
        Local::sync_function(|args| {
            let (start,): (i64,) = args.parse()?;
            Ok(Local::new(Account(start)))
        })
    }
}

struct Account(i64);

#[object(class = "bank.Account")]
impl Account {
    #[service(get)]
    fn balance(&self) -> i64 {
        self.0
    }
}

fn what_is_called_like_a_class_makes_objects(reference: Reference) {
    let client = "
import json, sys, rpyc
root = rpyc.connect('127.0.0.1', int(sys.argv[1])).root
Account = root.Account
assert callable(Account) and Account.__doc__ == 'An account.'
accounts = [Account(1), Account(start=2), root.Account(3), root.Purse(4)]
assert {type(account).__name__ for account in accounts} == {'bank.Account'}
print(json.dumps([account.balance for account in accounts]))
";
    let runtime = Runtime::new().unwrap();
    let server = Server::builder(Bank).bind("127.0.0.1:0");
    let server = runtime.block_on(server.listen()).unwrap();
    let port = server.local_addr().unwrap().port().to_string();
    let _serving = runtime.spawn(server.serve(std::future::pending::<()>()));
    assert_eq!(python::run(reference, None, client, &[&port]), json!([1, 2, 3, 4]));
}

fn clients_come_over_unix_sockets(reference: Reference) {
    let scratch = Scratch::new();
    let path = scratch.path().join("door");
    let unix_connect = "
import json, os, sys, rpyc
conn = rpyc.utils.factory.unix_connect(sys.argv[1])
who = conn.root.who()
assert who == conn.root.key().who == (None, None, (os.getuid(), os.getgid(), os.getpid())), who
print(json.dumps([conn.root.has_certificate(), conn.root.get_service_name(), os.getpid()]))
conn.close()
";
    let seen = Arc::<Mutex<Vec<Peer>>>::default();
    let builder = Server::builder(Door { seen: seen.clone() }).bind_unix(&path);
    let said = serve(builder, |addr| {
        assert!(addr.is_none());
        python::run(reference, None, unix_connect, &[&path.display().to_string()])
    });
    assert_eq!((&said[0], &said[1]), (&json!(false), &json!("DOOR")));
    assert!(!path.exists());
    // Both hooks, on connect and on disconnect, saw the same peer.
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    for peer in &*seen {
        let process = peer.credentials.unwrap().process.unwrap();
        assert_eq!(json!(process), said[2]);
    }
}

#[test]
fn a_server_tells_all_that_it_listens_on() {
    super::run(async {
        let scratch = Scratch::new();
        let path = scratch.path().join("door");
        let builder = door().bind_unix(&path).bind("127.0.0.1:0").bind("127.0.0.1:0");
        let server = builder.listen().await.unwrap();
        let addrs: Vec<_> = server.addrs().cloned().collect();
        assert_eq!(addrs[0], BoundAddr::Unix(path.clone()));
        assert_eq!(addrs[0].to_string(), path.display().to_string());
        assert_eq!(addrs[1].tcp(), server.local_addr());
        assert!(addrs[2].to_string().starts_with("127.0.0.1:") && addrs[2] != addrs[1]);
    });
}

fn a_client_starts_its_server(reference: Reference) {
    let server = examples::rust("stdio_server");
    let connect_subproc = "
import json, sys, rpyc
conn = rpyc.utils.factory.connect_subproc(sys.argv[1:])
said = conn.root.shout('hello')
conn.close()
print(json.dumps([said, conn.proc.wait(10)]))
";
    let server = server.get_program().to_str().unwrap();
    let said = python::run(reference, None, connect_subproc, &[server]);
    assert_eq!(said, json!(["HELLO", 0]));
}
