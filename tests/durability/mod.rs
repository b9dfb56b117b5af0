//! The state that the daemon keeps, whether it shuts down or is killed.

mod damage;
mod disk;
mod ends;
mod kill;
mod restarts;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::reply::decode_endpoints;
use rpyc_protocol::registry::{Names, Port, Request};
use rpyc_tests::raw::Datagrams;
use rpyc_tests::{Daemon, PATIENCE, Scratch, Transport, lasting_port};
use serde_json::{Value, json};

/// A client of the native protocol with one persistent connection.
struct Native {
    stream: BufReader<TcpStream>,
}

impl Native {
    fn connect(port: u16) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Some(Self { stream: BufReader::new(stream) })
    }

    /// Returns the reply, or `None` if the registry is gone.
    fn try_ask(&mut self, mut request: Value) -> Option<Value> {
        request["v"] = json!(1);
        self.stream.get_mut().write_all(format!("{request}\n").as_bytes()).ok()?;
        let mut line = String::new();
        self.stream.read_line(&mut line).ok().filter(|len| *len > 0)?;
        serde_json::from_str(&line).ok()
    }

    fn ask(&mut self, request: Value) -> Value {
        self.try_ask(request).expect("the registry answers")
    }
}

fn loopback() -> Datagrams {
    Datagrams::bind("127.0.0.1:0".parse().unwrap())
}

fn udp(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn encoded(request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode(&mut bytes).unwrap();
    bytes
}

fn register(name: &str, port: u16) -> Vec<u8> {
    let names = [ServiceName::new(name).unwrap()];
    encoded(&Request::Register { names: Names::from(&names[..]), port: Port::tcp(port).unwrap() })
}

fn unregister(port: u16) -> Vec<u8> {
    encoded(&Request::Unregister { port: Port::tcp(port).unwrap() })
}

/// The ports of a name, as the registry returns them to a legacy client.
fn found(socket: &Datagrams, daemon: &Daemon, name: &str) -> Vec<u16> {
    let query = encoded(&Request::Query { name });
    let (reply, _) = socket.ask(&query, daemon.address(Transport::Udp));
    let mut ports: Vec<_> =
        decode_endpoints(&reply).unwrap().iter().map(|it| it.port.to_tcp().unwrap()).collect();
    ports.sort_unstable();
    ports
}

/// Starts a daemon with a state directory that outlives it.
fn first(state: &Scratch) -> Daemon {
    again(lasting_port(), state.path())
}

fn again(port: u16, state: &Path) -> Daemon {
    Daemon::restart(port, state, &["--addresses-from=127.0.0.1=10.0.0.0/8"])
}
