//! Clients that violate the protocol or overload the conformance service.

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use rpyc_client::{Local, Parcel, RemoteObject, args};
use rpyc_tests::{PATIENCE, Reference, conformance};

use super::conformance::{Language, Server};

const MISDEEDS: &str = include_str!("../python/hostile.py");
const STORMS: &str = include_str!("../python/storms.py");

with_each_version! {
    misbehaving_clients_harm_nobody_but_themselves,
    storms_of_objects_and_goodbyes_blow_over,
}

fn misbehaving_clients_harm_nobody_but_themselves(reference: Reference) {
    let server = Server::start(Language::Rust, &[]);
    server.play(reference, MISDEEDS, &[&server.process.pid().to_string()]);
    // The log names each client that the server disconnected, and the reason.
    let (theirs, other) = match reference {
        Reference::Rpyc5 => ("rpyc 5", "rpyc 6"),
        Reference::Rpyc6 => ("rpyc 6", "rpyc 5"),
    };
    for reason in [
        format!("a message of {other} on a connection of {theirs}"),
        format!("a message of {theirs} with bound threads on a connection of {theirs}"),
        "the peer did not send the rest of a frame in time".to_owned(),
        "a compressed frame of more than 67108864 bytes".to_owned(),
        "a frame of 4294967295 bytes, over the limit of 67108864".to_owned(),
    ] {
        server.process.wait_for_error(&reason);
    }
}

fn storms_of_objects_and_goodbyes_blow_over(reference: Reference) {
    let server = Server::start(Language::Rust, &[]);
    server.play(reference, STORMS, &[&server.process.pid().to_string(), "20000"]);
}

#[test]
fn a_storm_from_rust_blows_over() {
    const COUNT: usize = 5_000;
    let server = Server::start(Language::Rust, &[]);
    let storm = async {
        let connection = rpyc_client::connect(format!("127.0.0.1:{}", server.port)).await.unwrap();
        let root = connection.root().await.unwrap();
        let live = async || root.call::<usize>("live", ()).await.unwrap();
        let mut held = Vec::new();
        for number in 0..COUNT {
            held.push(root.call::<RemoteObject>("counter", args![number]).await.unwrap());
        }
        assert_eq!((live().await, connection.stats().imports), (COUNT, COUNT + 1));
        drop(held);
        while live().await > 0 {}
        assert_eq!(connection.stats().imports, 1);

        let objects = (0..COUNT).map(|_| Local::function(|_| async { Ok(()) }).into());
        let objects = Parcel::tuple(objects.collect());
        let same: Parcel = root.call("echo", args![objects]).await.unwrap();
        assert_eq!(same.into_members().unwrap().len(), COUNT);
        while connection.stats().exports > 0 {
            connection.ping().await.unwrap();
        }
        assert_eq!(connection.stats().calls, 0);
    };
    super::run(async { tokio::time::timeout(PATIENCE, storm).await.unwrap() });
}

/// The processor time that a server has used.
fn time_at_work(server: &Server) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.process.pid())).unwrap();
    // The name may contain any character, so parsing starts after it. The fields are user and
    // system time in hundredths of a second.
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

#[test]
fn a_server_without_files_serves_those_it_has_and_recovers() {
    let server = {
        let program = conformance::rust();
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 30; exec \"$0\" --port 0"]).arg(program.get_program());
        Server::run(command)
    };
    let address = format!("127.0.0.1:{}", server.port);
    super::run(async {
        let root = rpyc_client::connect(&address).await.unwrap().root().await.unwrap();
        let add = async |root: &RemoteObject| root.call::<i64>("add", args![20, 22]).await.unwrap();
        let many: Vec<_> = (0..40).map(|_| TcpStream::connect(&address).unwrap()).collect();
        server.process.wait_for_error("cannot accept clients");

        let (start, at_work) = (Instant::now(), time_at_work(&server));
        while start.elapsed() < Duration::from_secs(2) {
            assert_eq!(add(&root).await, 42);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let at_work = time_at_work(&server).saturating_sub(at_work);
        assert!(at_work < Duration::from_millis(500), "{at_work:?} of 2 s");
        let log = server.process.stderr();
        let told = log.lines().filter(|line| line.contains("cannot accept clients")).count();
        assert!(told < 20, "the log is not flooded: {told} lines");

        drop(many);
        let late = rpyc_client::connect(&address).await.unwrap().root().await.unwrap();
        assert_eq!(add(&late).await + add(&root).await, 84);
    });
}
