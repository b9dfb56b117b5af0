//! The guide "From Python to Rust": its listings run and print the same in both languages.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread::{self, JoinHandle};

use rpyc_tests::process::{Process, Signal};
use rpyc_tests::{PATIENCE, Reference, Scratch, eventually, examples, python};

with_each_version! {
    listing_1_tells_of_this_machine,
    listing_2_tells_of_another,
    listing_3_calls_a_module_of_the_servers,
    listing_4_opens_a_prompt,
    listing_5_prints_there_and_here,
    listing_6_connects_from_the_servers_machine,
    listing_7_does_not_wait,
    listings_8_and_9_are_a_service_and_its_client,
}

const PYTHON_EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/python");

/// The real `rpyc_classic`, in a separate directory.
pub(super) struct Classic {
    process: Process,
    folder: Scratch,
    pub(super) address: String,
}

impl Classic {
    pub(super) fn start(reference: Reference) -> Self {
        let folder = Scratch::new();
        let mut command = Command::new(reference.python());
        command.arg(reference.python().with_file_name("rpyc_classic.py"));
        command.args(["--host", "127.0.0.1", "--port", "0"]);
        command.env("PYTHONPATH", PYTHON_EXAMPLES).env("PYTHONUNBUFFERED", "1");
        command.current_dir(folder.path());
        let process = Process::start("rpyc_classic", command);
        process.wait_for_error("server started on");
        let errors = process.stderr();
        let started = errors.lines().find(|line| line.contains("server started on")).unwrap();
        let port: u16 = started.rsplit(':').next().unwrap().parse().unwrap();
        Self { process, folder, address: format!("127.0.0.1:{port}") }
    }

    fn folder(&self) -> String {
        self.folder.path().canonicalize().unwrap().to_str().unwrap().to_owned()
    }
}

/// Runs a program with `input`, which must succeed, and returns its output.
pub(super) fn printed(mut command: Command, arguments: &[&str], input: &str) -> String {
    command.args(arguments).env("PYTHONUTF8", "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?} {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn rust() -> Command {
    static BUILT: LazyLock<Command> = LazyLock::new(|| examples::rust("guide"));
    Command::new(BUILT.get_program())
}

/// Runs a listing in both languages and returns their common output.
fn listing(reference: Reference, arguments: &[&str], input: &str) -> String {
    let in_rust = printed(rust(), arguments, input);
    let in_python = printed(examples::python(reference, "guide"), arguments, input);
    assert_eq!(in_rust, in_python, "{arguments:?}");
    in_rust
}

fn listing_1_tells_of_this_machine(reference: Reference) {
    let in_rust = printed(rust(), &["1"], "");
    let in_python = printed(examples::python(reference, "guide"), &["1"], "");
    let [in_rust, in_python] = [&in_rust, &in_python].map(|text| text.lines().collect::<Vec<_>>());
    assert_eq!((in_rust[0], in_rust[2]), (in_python[0], in_python[2]));
    assert!(in_rust[1].starts_with("Rust 1."), "{in_rust:?}");
    assert!(in_python[1].starts_with("Python 3."), "{in_python:?}");
}

/// The expected output of listing 2 for a server.
fn facts(reference: Reference, server: &Classic) -> String {
    let code =
        "import json, platform; print(json.dumps([platform.node(), platform.python_version()]))";
    let told = python::run(reference, None, code, &[]);
    let (name, version) = (told[0].as_str().unwrap(), told[1].as_str().unwrap());
    format!("{name}\nPython {version}\n{}\n", server.folder())
}

fn listing_2_tells_of_another(reference: Reference) {
    let servers = [Classic::start(reference), Classic::start(reference)];
    let told = listing(reference, &["2", &servers[0].address, &servers[1].address], "");
    assert_eq!(told, servers.each_ref().map(|server| facts(reference, server)).concat());
}

#[test]
fn listing_2_takes_servers_of_both_versions_at_once() {
    let servers = Reference::ALL.map(Classic::start);
    let told = printed(rust(), &["2", &servers[0].address, &servers[1].address], "");
    let of = |at: usize| facts(Reference::ALL[at], &servers[at]);
    assert_eq!(told, of(0) + &of(1));
}

fn listing_3_calls_a_module_of_the_servers(reference: Reference) {
    let server = Classic::start(reference);
    assert_eq!(listing(reference, &["3", &server.address], ""), "4200.00\n");
}

fn listing_4_opens_a_prompt(reference: Reference) {
    let server = Classic::start(reference);
    let typed = "import os\nprint(os.getcwd())\n";
    let told = listing(reference, &["4", &server.address], typed);
    assert!(told.contains(&format!(">>> {}\n", server.folder())), "{told}");
}

fn listing_5_prints_there_and_here(reference: Reference) {
    let server = Classic::start(reference);
    assert_eq!(listing(reference, &["5", &server.address], ""), "Hello, client\n6 6\n");
    server.process.wait_for("greetings of both languages", |lines| {
        (lines == ["Hello, server", "Hello, server"]).then_some(())
    });
}

/// Serves one HTTP client, and returns whether that client is the process `pid`.
fn intranet(pid: u32) -> (String, JoinHandle<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let serving = thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        let is_from = has_socket(pid, peer.port(), addr.port());
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.extend(byte);
        }
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nbehind the wall").unwrap();
        is_from
    });
    (addr.to_string(), serving)
}

/// Whether the process `pid` has the TCP connection from one port of this machine to another.
fn has_socket(pid: u32, from: u16, to: u16) -> bool {
    let [from, to] = [from, to].map(|port| format!("0100007F:{port:04X}"));
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let mut rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row[1] == from && row[2] == to).unwrap();
    let socket = format!("socket:[{}]", row[9]);
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|to| to == Path::new(&socket)))
}

fn listing_6_connects_from_the_servers_machine(reference: Reference) {
    let server = Classic::start(reference);
    for language in [rust(), examples::python(reference, "guide")] {
        let (inside, serving) = intranet(server.process.pid());
        let told = printed(language, &["6", &server.address, &inside], "");
        assert_eq!(told, "behind the wall\n");
        assert!(serving.join().unwrap(), "it came from elsewhere");
    }
}

fn listing_7_does_not_wait(reference: Reference) {
    let server = Classic::start(reference);
    assert_eq!(listing(reference, &["7", &server.address], ""), "not yet\n42\n");
}

/// Starts listing 8, runs listing 9 in each of `clients`, and returns the server.
fn serve(server: Command, clients: impl IntoIterator<Item = Command>) -> Process {
    let mut server = server;
    server.args(["8", "127.0.0.1:0"]);
    let server = Process::start("listing 8", server);
    let address = server.wait_for("address", |lines| {
        lines.iter().find_map(|line| line.strip_prefix("listening on ").map(str::to_owned))
    });
    // The Python program prints its address shortly before it accepts connections.
    eventually("the server listens", PATIENCE, || TcpStream::connect(&address).ok());
    for client in clients {
        let told = printed(client, &["9", &address], "");
        assert_eq!(told, "Darmstadt: up to 17.0 degrees\nrecalibrate is not exposed\n");
    }
    for event in ["a client has come", "a client has left"] {
        server.wait_for(event, |lines| lines.iter().any(|line| line == event).then_some(()));
    }
    server
}

fn listings_8_and_9_are_a_service_and_its_client(reference: Reference) {
    let clients = || [rust(), examples::python(reference, "guide")];
    let mut server = serve(rust(), clients());
    server.signal(Signal::SIGINT);
    assert!(server.wait().success());
    serve(examples::python(reference, "guide"), clients());
}

/// The fenced blocks of a text, each with its language and the heading above it.
fn blocks(text: &str) -> Vec<(&str, &str, Vec<&str>)> {
    let (mut blocks, mut heading) = (Vec::new(), "");
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title;
        } else if let Some(language) = line.strip_prefix("```") {
            let block = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((heading, language, block));
        }
    }
    blocks
}

/// Whether `source` contains the lines in sequence, at any indentation.
fn stands_in(block: &[&str], source: &str) -> bool {
    let lines: Vec<_> = source.lines().collect();
    lines.windows(block.len()).any(|window| {
        let indent = window[0].len() - window[0].trim_start().len();
        window.iter().zip(block).all(|(there, here)| there.get(indent..).unwrap_or("") == *here)
    })
}

#[test]
fn what_the_guide_shows_stands_in_the_programs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let sources = BTreeMap::from([
        ("python", vec![read("examples/python/guide.py"), read("examples/python/Payroll.py")]),
        ("rust", vec![read("examples/guide.rs")]),
    ]);
    let guide = read("docs/guide.md");
    let blocks = blocks(&guide);
    for (heading, language, block) in &blocks {
        let Some(sources) = sources.get(language) else { continue };
        let is_there = sources.iter().any(|source| stands_in(block, source));
        assert!(is_there, "{heading}: no program has\n{}", block.join("\n"));
    }
    for number in 1..=9 {
        let title = format!("Listing {number}:");
        let in_section = |language| {
            blocks.iter().any(|block| block.0.starts_with(&title) && block.1 == language)
        };
        assert!(in_section("python") && in_section("rust"), "{title}");
    }
}
