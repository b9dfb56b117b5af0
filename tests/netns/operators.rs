//! A hostile machine that forges the source of its datagrams.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};

use rpyc_tests::{Daemon, Host, Lab, PATIENCE};
use serde_json::{Value, json};

use super::PORT;

/// Sends its last arguments as UDP datagrams, from one address to another, without a socket of the
/// first.
const FORGE: &str = r"
import socket, struct, sys
source, target, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for payload in sys.argv[4:]:
    payload = payload.encode()
    udp = struct.pack('!HHHH', 40000, port, 8 + len(payload), 0) + payload
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    ip = struct.pack('!BBHHHBBH', 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + ends
    raw.sendto(ip + udp, (target, 0))
";

/// Sends a native request over TCP from `host` to `to`.
fn ask(host: &Host, to: Ipv4Addr, mut request: Value) -> Value {
    request["v"] = 1.into();
    host.enter(|| {
        let mut stream = TcpStream::connect((to, PORT)).unwrap();
        stream.write_all(format!("{request}\n").as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    })
}

#[test]
fn forged_sources_operate_nothing() {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let registry = lab.host("registry", &[&office]);
    let (operator, hostile) = (lab.host("operator", &[&office]), lab.host("hostile", &[&office]));
    let (here, allowed) = (registry.interface().v4, operator.interface().v4);
    let network = format!("{allowed}/32");
    let daemon = Daemon::start_on(&registry, &["--operator-from", &network]);
    let read = |request| ask(&registry, Ipv4Addr::LOCALHOST, request);
    read(json!({"op": "register", "names": ["a"], "port": 1, "ttl_ms": 3_600_000}));

    let requests = [
        json!({"v": 1, "op": "drain", "name": "a"}),
        json!({"v": 1, "op": "drain", "name": "a", "cookie": "0123456789abcdef"}),
        json!({"v": 1, "op": "deregister", "name": "a"}),
        json!({"v": 1, "op": "deregister", "instance": 1}),
    ]
    // As long as the longest reply needs.
    .map(|request| format!("{:<400}", request.to_string()));
    let sources = [allowed, here];
    for source in sources {
        let mut forge = hostile.command("python3");
        forge.args(["-c", FORGE, &source.to_string(), &here.to_string(), &PORT.to_string()]);
        assert!(forge.args(&requests).status().unwrap().success());
    }
    // The system itself drops datagrams whose source is the registry's own address. The others are
    // served before a later datagram of the same source.
    operator.enter(|| {
        let socket = UdpSocket::bind((allowed, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let ping = format!("{:<400}", json!({"v": 1, "op": "ping"}).to_string());
        socket.send_to(ping.as_bytes(), (here, PORT)).unwrap();
        socket.recv(&mut [0; 2048]).unwrap();
    });
    let states = read(json!({"op": "status"}))["status"]["states"].clone();
    assert_eq!(states["passing"], 1, "{states}");

    // The operator itself proves its source by a connection.
    let drain = json!({"op": "drain", "name": "a"});
    assert_eq!(ask(&hostile, here, drain.clone())["error"]["code"], "forbidden");
    assert_eq!(ask(&operator, here, drain)["changed"], 1);
    drop(daemon);
}
