//! The lower bound: a server that only writes as many bytes to as many sockets.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A registry's event for one registration, with the port to be filled in.
const BEFORE_PORT: &str = concat!(
    r#"{"v":1,"revision":"0badcafe:1234567","event":{"kind":"added","name":"WATCHED0","instance":"#,
    r#"{"id":123456,"host":"127.0.0.1","port":"#
);
const AFTER_PORT: &str = concat!(
    r#","state":"passing","age_ms":0,"renewed_ms":0,"left_ms":120000,"ttl_ms":120000}}}"#,
    "\n"
);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The address to listen on
    address: SocketAddr,
    /// The number of threads that write
    #[arg(long, default_value = "2")]
    threads: usize,
}

type Watchers = Arc<Mutex<Vec<TcpStream>>>;

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.address)?;
    let mut shares: Vec<(Watchers, Sender<Arc<str>>)> = Vec::new();
    for _ in 0..args.threads.max(1) {
        let (watchers, (sender, news)) = (Watchers::default(), channel::<Arc<str>>());
        shares.push((Arc::clone(&watchers), sender));
        thread::spawn(move || {
            for line in news {
                let mut watchers = watchers.lock().unwrap_or_else(PoisonError::into_inner);
                watchers.retain_mut(|stream| match stream.write(line.as_bytes()) {
                    Ok(_) => true,
                    Err(error) => error.kind() == ErrorKind::WouldBlock,
                });
            }
        });
    }
    for (number, stream) in listener.incoming().enumerate() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        // The connection that makes the changes asks first, and only it sends other requests.
        if number == 0 {
            let senders: Vec<_> = shares.iter().map(|(_, sender)| sender.clone()).collect();
            thread::spawn(move || change(reader, &senders));
            continue;
        }
        let mut line = String::new();
        reader.read_line(&mut line)?;
        drop(reader);
        let (mut stream, place) = (stream, number % shares.len());
        stream.write_all(b"{\"v\":1,\"event\":{\"kind\":\"current\"}}\n")?;
        stream.set_nonblocking(true)?;
        if let Some((watchers, _)) = shares.get(place) {
            watchers.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
        }
    }
    Ok(())
}

/// Sends an event for each request of one client until it disconnects; then ends the process, so
/// that each run has a new one.
fn change(mut reader: BufReader<TcpStream>, senders: &[Sender<Arc<str>>]) {
    let mut line = String::new();
    while matches!(reader.read_line(&mut line), Ok(1..)) {
        let port = line.split(r#""port":"#).nth(1).and_then(|rest| rest.split(',').next());
        if let Some(port) = port {
            let news: Arc<str> = [BEFORE_PORT, port, AFTER_PORT].concat().into();
            for sender in senders {
                // A thread that has ended has no watcher left.
                let _ = sender.send(Arc::clone(&news));
            }
        }
        line.clear();
        if reader.get_mut().write_all(b"{\"v\":1}\n").is_err() {
            break;
        }
    }
    #[expect(clippy::exit, reason = "the run is over, and the other threads have no work left")]
    std::process::exit(0);
}
