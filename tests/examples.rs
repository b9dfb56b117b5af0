//! The examples work as documented, in both languages and between them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use rpyc_tests::process::{Process, Signal};
use rpyc_tests::{
    Daemon, PATIENCE, Reference, Registrar, Scratch, Transport, Via, eventually, examples,
};
use serde_json::json;

use super::guide::{Classic, printed};

with_each_version! {
    callbacks_are_called_in_both_languages,
    classic_mode_is_used_in_both_languages,
    files_are_copied_by_both_languages,
    a_port_is_forwarded,
    people_chat_in_a_room_in_python,
    a_safe_in_python_is_reached_over_tls,
}

/// Starts `server`, waits until the registry returns it, runs each of `clients`, and stops it.
fn serve(server: Command, clients: impl IntoIterator<Item = Command>) {
    let daemon = Daemon::start(&[]);
    let registry = daemon.address(Transport::Udp);
    let with_registry = |mut command: Command| {
        command.env("RPYC_REGISTRY", registry.to_string());
        command
    };
    let mut asking = Registrar::start(Reference::Rpyc6, Via::Udp(registry));
    let mut server = Process::start("the example server", with_registry(server));
    eventually("the server is found", PATIENCE, || {
        (asking.query("PAYROLL") != json!([])).then_some(())
    });
    for client in clients {
        let said = with_registry(client).args(["Mertz", "David"]).output().unwrap();
        let text = String::from_utf8_lossy(&said.stdout);
        assert_eq!(text, "David Mertz earns 4200 a month\n", "{said:?}");
    }
    server.signal(Signal::SIGINT);
    server.wait();
    eventually("the server is found no more", PATIENCE, || {
        (asking.query("PAYROLL") == json!([])).then_some(())
    });
}

#[test]
fn the_payroll_server_in_rust_serves_clients_in_rust_and_python() {
    let clients = [
        examples::rust("payroll_client"),
        examples::python(Reference::Rpyc6, "payroll_client"),
        examples::python(Reference::Rpyc5, "payroll_client"),
    ];
    serve(examples::rust("payroll_server"), clients);
}

/// The registry may stop in between: the resolver caches its replies.
#[test]
fn the_resolver_finds_servers_without_the_registry() {
    let daemon = Daemon::start(&[]);
    let registry = daemon.address(Transport::Udp).to_string();
    let mut server = examples::rust("payroll_server");
    let _server = Process::start("payroll_server", {
        server.env("RPYC_REGISTRY", &registry);
        server
    });
    let mut asking = Registrar::start(Reference::Rpyc6, Via::Udp(registry.parse().unwrap()));
    eventually("the server is found", PATIENCE, || {
        (asking.query("PAYROLL") != json!([])).then_some(())
    });
    let mut client = examples::rust("resolver");
    client.env("RPYC_REGISTRY", &registry).args(["Mertz", "David"]);
    let client = Process::start("resolver", client);
    let salaries = |lines: &[String]| lines.iter().filter(|it| it.contains("earns 4200")).count();
    client.wait_for("a salary", |lines| (salaries(lines) > 0).then_some(()));
    drop(daemon);
    let seen = client.wait_for("staleness", |lines| {
        lines.iter().any(|line| line == "PAYROLL: Stale").then(|| salaries(lines))
    });
    client.wait_for("a salary without a registry", |lines| (salaries(lines) > seen).then_some(()));
}

#[test]
fn the_payroll_server_in_python_serves_clients_in_rust_and_python() {
    for reference in Reference::ALL {
        let clients =
            [examples::rust("payroll_client"), examples::python(reference, "payroll_client")];
        serve(examples::python(reference, "payroll_server"), clients);
    }
}

fn callbacks_are_called_in_both_languages(reference: Reference) {
    let server = Classic::start(reference);
    for example in [examples::rust("callbacks"), examples::python(reference, "callbacks")] {
        let told = printed(example, &[&server.address], "");
        assert_eq!(told, "many HANDS make LIGHT work\na tenth later\n");
    }
}

fn classic_mode_is_used_in_both_languages(reference: Reference) {
    let server = Classic::start(reference);
    for example in [examples::rust("classic"), examples::python(reference, "classic")] {
        let told = printed(example, &[&server.address], "");
        let expected = "the quick / brown fox\n5/6\n1/3 of class fractions.Fraction\n\
            apples: [1, 2, 3]\npears: [5, 4]\nZeroDivisionError: division by zero\n";
        assert_eq!(told, expected);
    }
}

fn files_are_copied_by_both_languages(reference: Reference) {
    let server = Classic::start(reference);
    let copy = |in_rust: bool, words: [&str; 3]| {
        let example = match in_rust {
            true => examples::rust("file_transfer"),
            false => examples::python(reference, "file_transfer"),
        };
        let [direction, from, to] = words;
        let told = printed(example, &[&server.address, direction, from, to], "");
        assert!(told.ends_with(&format!("{from} is copied\n")), "{told}");
    };
    for in_rust in [true, false] {
        let scratch = Scratch::new();
        let [here, there, back] = ["here", "there", "back"].map(|name| scratch.path().join(name));
        fs::create_dir_all(here.join("folder")).unwrap();
        let noise: Vec<u8> = (0..700_001_u32).map(|at| (at * 7 % 251).to_be_bytes()[3]).collect();
        fs::write(here.join("folder/noise"), &noise).unwrap();
        fs::write(here.join("text"), "line\n").unwrap();
        let [here, there, back] = [&here, &there, &back].map(|path| path.to_str().unwrap());
        copy(in_rust, ["upload", here, there]);
        // The other language downloads the files that the first one uploaded.
        copy(!in_rust, ["download", there, back]);
        let read = |name: &str| fs::read(format!("{back}/{name}")).unwrap();
        assert!(read("folder/noise") == noise && read("text") == b"line\n");
    }
}

/// Starts an example that listens, and returns it with its address.
fn listening(name: &str, mut example: Command, arguments: &[&str]) -> (Process, String) {
    example.args(arguments);
    let example = Process::start(name, example);
    let address = example.wait_for("address", |lines| {
        lines.iter().find_map(|line| line.strip_prefix("listening on ").map(str::to_owned))
    });
    // The Python program prints its address shortly before it accepts connections.
    eventually("it listens", PATIENCE, || TcpStream::connect(&address).ok());
    (example, address)
}

fn a_port_is_forwarded(reference: Reference) {
    let server = Classic::start(reference);
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let inside = target.local_addr().unwrap().to_string();
    // Sends each client the number of bytes that it sent.
    thread::spawn(move || {
        for stream in target.incoming() {
            let mut said = Vec::new();
            let mut stream = stream.unwrap();
            stream.read_to_end(&mut said).unwrap();
            // A client that only tested the port has already disconnected.
            let _ = stream.write_all(said.len().to_string().as_bytes());
        }
    });
    let arguments = [&*server.address, &*inside, "127.0.0.1:0"];
    let (_forward, address) = listening("forward", examples::rust("forward"), &arguments);
    for len in [5, 100_000] {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(&vec![7; len]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, len.to_string());
    }
}

/// Each member receives all messages, and a notice when a member joins or leaves.
fn chat(server: Command, clients: impl IntoIterator<Item = (&'static str, Command)>) {
    let (server, address) = listening("the chat", server, &["127.0.0.1:0"]);
    let mut people: Vec<(&str, Process)> = Vec::new();
    let all_hear = |people: &[(&str, Process)], expected: &str| {
        for (name, process) in people {
            process.wait_for(&format!("{expected:?} for {name}"), |lines| {
                lines.iter().any(|line| line == expected).then_some(())
            });
        }
    };
    for (name, mut client) in clients {
        client.args([&address, name]);
        people.push((name, Process::start(name, client)));
        all_hear(&people, &format!("{name}: has come"));
    }
    for at in 0..people.len() {
        let name = people[at].0;
        people[at].1.write_line(&format!("good morning from {name}"));
        all_hear(&people, &format!("{name}: good morning from {name}"));
    }
    while let Some((name, mut leaving)) = people.pop() {
        leaving.close_stdin();
        assert!(leaving.wait().success(), "{name}: {}", leaving.stderr());
        all_hear(&people, &format!("{name}: has left"));
    }
    drop(server);
}

#[test]
fn people_chat_in_a_room_in_rust() {
    let clients = [
        ("David", examples::rust("chat_client")),
        ("Ada", examples::python(Reference::Rpyc6, "chat_client")),
        ("Grace", examples::python(Reference::Rpyc5, "chat_client")),
        ("Guido", examples::rust("chat_client")),
    ];
    chat(examples::rust("chat_server"), clients);
}

fn people_chat_in_a_room_in_python(reference: Reference) {
    let clients = [
        ("David", examples::rust("chat_client")),
        ("Ada", examples::python(reference, "chat_client")),
        ("Guido", examples::rust("chat_client")),
    ];
    chat(examples::python(reference, "chat_server"), clients);
}

/// Writes a server certificate, an authority for clients, and a client certificate.
pub(super) fn write_papers(folder: &Path) {
    let authority = || {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let write = |name: &str, content: String| fs::write(folder.join(name), content).unwrap();
    // The same kind of certificate as `openssl req -x509` makes.
    let key = KeyPair::generate().unwrap();
    write("server.crt", authority().self_signed(&key).unwrap().pem());
    write("server.key", key.serialize_pem());
    let clients = CertifiedIssuer::self_signed(authority(), KeyPair::generate().unwrap()).unwrap();
    write("clients.crt", clients.pem());
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "David");
    write("client.crt", params.signed_by(&key, &clients).unwrap().pem());
    write("client.key", key.serialize_pem());
    // The same client certificate as the command in the example's header makes.
    let key = KeyPair::generate().unwrap();
    let mut params = authority();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Ada");
    write("alone.crt", params.self_signed(&key).unwrap().pem());
    write("alone.key", key.serialize_pem());
}

/// Clients reach a safe that is open to all, and one that requires a client certificate.
fn open_safe(server: impl Fn() -> Command, clients: impl Fn() -> Vec<Command>) {
    let scratch = Scratch::new();
    write_papers(scratch.path());
    let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let [certificate, key] = ["server.crt", "server.key"].map(path);
    // The certificates that the server accepts, and the one that the client presents.
    let ways = [None, Some(("clients.crt", "client")), Some(("alone.crt", "alone"))];
    for way in ways {
        let known = way.map(|(listed, shown)| {
            (path(listed), [path(&format!("{shown}.crt")), path(&format!("{shown}.key"))])
        });
        let mut arguments = vec!["127.0.0.1:0", &certificate, &key];
        arguments.extend(known.as_ref().map(|(listed, _)| &**listed));
        let (_safe, address) = listening("the safe", server(), &arguments);
        let mut shown = vec![&*address, &*certificate];
        shown.extend(known.iter().flat_map(|(_, shown)| shown).map(String::as_str));
        for client in clients() {
            assert_eq!(printed(client, &shown, ""), "in the safe: twelve gold coins\n");
        }
        let Some((listed, _)) = way else { continue };
        // The server rejects a client without a certificate, and one with an unknown certificate.
        let other = if listed == "alone.crt" { "client" } else { "alone" };
        let other = [path(&format!("{other}.crt")), path(&format!("{other}.key"))];
        for (mut stranger, mut other_stranger) in clients().into_iter().zip(clients()) {
            stranger.args(&shown[..2]);
            other_stranger.args(&shown[..2]).args(&other);
            for mut refused in [stranger, other_stranger] {
                assert!(!refused.output().unwrap().status.success(), "{listed}");
            }
        }
    }
}

#[test]
fn a_safe_in_rust_is_reached_over_tls() {
    let python = |reference| examples::python(reference, "tls_client");
    let clients =
        || vec![examples::rust("tls_client"), python(Reference::Rpyc5), python(Reference::Rpyc6)];
    open_safe(|| examples::rust("tls_server"), clients);
}

fn a_safe_in_python_is_reached_over_tls(reference: Reference) {
    let clients = || vec![examples::rust("tls_client"), examples::python(reference, "tls_client")];
    open_safe(|| examples::python(reference, "tls_server"), clients);
}
