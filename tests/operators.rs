//! Operators: who is one, over which way, and the socket on their own machine.

mod commands;
mod network;
mod socket;

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Output};
use std::time::Duration;

use rpyc_tests::{Daemon, PATIENCE, Transport, daemon};
use serde_json::{Value, json};

/// Sends one native request over a stream.
fn ask(mut stream: impl Read + Write, mut request: Value) -> Value {
    request["v"] = 1.into();
    stream.write_all(format!("{request}\n").as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

/// A TCP connection to the daemon from an address of this machine.
fn tcp_from(source: Ipv4Addr, daemon: &Daemon) -> TcpStream {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, daemon.port()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends native requests as datagrams from one source.
struct Datagrams {
    socket: UdpSocket,
    to: SocketAddr,
}

impl Datagrams {
    fn from(source: IpAddr, daemon: &Daemon) -> Self {
        let socket = UdpSocket::bind((source, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let here = if source.is_ipv4() { "127.0.0.1" } else { "::1" };
        Self { socket, to: (here.parse::<IpAddr>().unwrap(), daemon.port()).into() }
    }

    /// Sends a request, as long as the longest reply needs, until a reply comes.
    fn ask(&self, mut request: Value) -> Value {
        request["v"] = 1.into();
        self.ask_bytes(format!("{:<400}", request.to_string()).as_bytes())
    }

    fn ask_bytes(&self, request: &[u8]) -> Value {
        rpyc_tests::eventually("a reply over UDP", PATIENCE, || {
            self.socket.send_to(request, self.to).unwrap();
            let mut buffer = [0; 2000];
            let len = self.socket.recv(&mut buffer).ok()?;
            Some(serde_json::from_slice(&buffer[..len]).unwrap())
        })
    }

    /// The cookie that proves this source.
    fn cookie(&self) -> Value {
        // A reply that had to be cut has one.
        let reply = self.ask_bytes(br#"{"v":1,"op":"resolve","name":"a"}          "#);
        let reply = match reply["cookie"].is_string() {
            true => reply,
            false => self.ask_bytes(br#"{"v":1,"op":"status"}"#),
        };
        assert!(reply["cookie"].is_string(), "{reply}");
        reply["cookie"].clone()
    }
}

/// What an operator may do and others may not, to the instances of A.
fn operations(instance: u64) -> Vec<Value> {
    vec![
        json!({"op": "drain", "name": "a"}),
        json!({"op": "drain", "instance": instance}),
        json!({"op": "undrain", "host": "127.0.0.1"}),
        json!({"op": "deregister", "name": "a"}),
        json!({"op": "deregister", "instance": instance}),
        json!({"op": "deregister", "host": "127.0.0.1", "port": 1}),
        json!({"op": "release"}),
        json!({"op": "release", "name": "a"}),
    ]
}

/// Registers A, natively; returns the number of the instance.
fn register(daemon: &Daemon) -> u64 {
    let request = json!({"op": "register", "names": ["a"], "port": 1, "ttl_ms": 3_600_000});
    let reply = ask(TcpStream::connect(daemon.registry()).unwrap(), request);
    reply["lease"]["instance"].as_u64().unwrap()
}

/// The states of the instances of A.
fn states(daemon: &Daemon) -> Vec<String> {
    let request = json!({"op": "list", "prefix": "a"});
    let reply = ask(TcpStream::connect(daemon.address(Transport::Tcp)).unwrap(), request);
    let services = reply["services"].as_array().unwrap().iter();
    let instances = services.flat_map(|service| service["instances"].as_array().unwrap());
    instances.map(|instance| instance["state"].as_str().unwrap().to_owned()).collect()
}

/// The command line, without any setting of this machine.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(daemon::executable());
    for variable in ["RPYC_REGISTRY", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"] {
        command.env_remove(variable);
    }
    command.args(args).env("HOME", "/dev/null").env_remove("XDG_STATE_HOME");
    command
}

/// The exit code, standard output and standard error.
fn outcome(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}
