//! Servers in Rust, with settings that the conformance service does not have, and real RPyC clients.

use std::net::SocketAddr;

use rpyc_client::{Connection, Tls};
use rpyc_server::{Server, ServerBuilder, ServerTls, service};
use rpyc_tests::{Reference, Scratch, examples, python};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::tls::Papers;

with_each_version! {
    clients_come_over_tls_and_show_who_they_are,
    clients_come_over_unix_sockets,
    a_client_starts_its_server,
}

/// Tells a client what it has shown.
struct Door {
    has_certificate: bool,
}

#[service]
impl Door {
    fn has_certificate(&self) -> bool {
        self.has_certificate
    }
}

fn door() -> ServerBuilder<Door> {
    Server::per_connection(|peer| Door { has_certificate: peer.certificate.is_some() })
}

/// Serves while `visit` runs, and ends tidily.
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
    let ssl_connect = "
import json, sys, rpyc
port, authority, *identity = sys.argv[1:]
try:
    files = dict(zip(('certfile', 'keyfile'), identity))
    conn = rpyc.ssl_connect('127.0.0.1', int(port), ca_certs=authority, **files)
    print(json.dumps(conn.root.has_certificate()))
except (EOFError, OSError):
    print(json.dumps('refused'))
";
    let authority = papers.path("ca.pem").display().to_string();
    let identity = ["client.crt", "client.key"].map(|name| papers.path(name).display().to_string());
    let visit = |addr: Option<SocketAddr>, identity: &[String]| -> Value {
        let port = addr.unwrap().port().to_string();
        let mut arguments = vec![&*port, &*authority];
        arguments.extend(identity.iter().map(|path| &**path));
        python::run(reference, None, ssl_connect, &arguments)
    };
    let open = door().bind("127.0.0.1:0").tls(tls.clone());
    assert_eq!(serve(open, |addr| visit(addr, &[])), json!(false));

    let tls = tls.requiring_clients_of(&papers.read("ca.pem")).unwrap();
    serve(door().bind("127.0.0.1:0").tls(tls), |addr| {
        assert_eq!(visit(addr, &[]), json!("refused"));
        assert_eq!(visit(addr, &identity), json!(true));
        super::run(async {
            let tls = Tls::with_authorities(&papers.read("ca.pem")).unwrap();
            let tls =
                tls.with_identity(&papers.read("client.crt"), &papers.read("client.key")).unwrap();
            let connection =
                Connection::builder().tls(tls).connect(&addr.unwrap().to_string()).await.unwrap();
            let root = connection.root().await.unwrap();
            assert!(root.call::<bool>("has_certificate", ()).await.unwrap());
        });
    });
}

fn clients_come_over_unix_sockets(reference: Reference) {
    let scratch = Scratch::new();
    let path = scratch.path().join("door");
    let unix_connect = "
import json, sys, rpyc
conn = rpyc.utils.factory.unix_connect(sys.argv[1])
print(json.dumps([conn.root.has_certificate(), conn.root.get_service_name()]))
";
    let said = serve(door().bind_unix(&path), |_| {
        python::run(reference, None, unix_connect, &[&path.display().to_string()])
    });
    assert_eq!(said, json!([false, "DOOR"]));
    assert!(!path.exists());
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
