//! The frames that each side compresses, and that the other side reads either form.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use rpyc_client::{Connection, Dialect, Parcel, args};
use rpyc_server::{Server, service};
use rpyc_tests::{Reference, python};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::{Python, run};

with_each_version! {
    a_server_compresses_as_it_is_told,
    a_client_compresses_as_it_is_told,
}

struct Echo;

#[service]
impl Echo {
    fn echo(&self, value: Parcel) -> Parcel {
        value
    }
}

/// Echoes 100 kB, and counts the frames that the client itself compresses and inflates.
const CLIENT: &str = "
import json, sys, rpyc, zlib
import rpyc.core.channel as channel

class Counted:
    compressed = inflated = 0
    def compress(self, *args):
        self.compressed += 1
        return zlib.compress(*args)
    def decompress(self, *args):
        self.inflated += 1
        return zlib.decompress(*args)

channel.zlib = counted = Counted()
conn = rpyc.connect('127.0.0.1', int(sys.argv[1]))
payload = b'\\xa5' * 100_000
assert conn.root.echo(payload) == payload
conn.close()
print(json.dumps([counted.compressed, counted.inflated]))
";

fn a_server_compresses_as_it_is_told(reference: Reference) {
    for (above, inflated) in [(Some(3000), 1), (None, 0), (Some(200_000), 0)] {
        let runtime = Runtime::new().unwrap();
        let builder = Server::builder(Echo).bind("127.0.0.1:0").compress_above(above);
        let server = runtime.block_on(builder.listen()).unwrap();
        let port = server.local_addr().unwrap().port().to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = runtime.spawn(server.serve(stopped));
        // The Rust server reads compressed frames, whatever its own setting.
        assert_eq!(
            python::run(reference, None, CLIENT, &[&port]),
            json!([1, inflated]),
            "{above:?}"
        );
        stop.send(()).unwrap();
        assert!(runtime.block_on(serving).unwrap().is_drained);
    }
}

fn a_client_compresses_as_it_is_told(reference: Reference) {
    let python = Python::start(reference, &[]);
    let payload = vec![0xa5_u8; 100_000];
    let dialect = match reference {
        Reference::Rpyc5 => Dialect::V5,
        Reference::Rpyc6 => Dialect::V6,
    };
    run(async {
        for (above, sent) in [(Some(3000), 1), (None, 0), (Some(200_000), 0)] {
            let (stream, tape) = Taped::new(TcpStream::connect(&python.address).await.unwrap());
            let connection =
                Connection::builder().dialect(dialect).compress_above(above).over(stream);
            let root = connection.root().await.unwrap();
            let back: Vec<u8> =
                root.call("echo", args![Parcel::bytes(payload.clone())]).await.unwrap();
            assert_eq!(back, payload);
            let tape = tape.lock().unwrap();
            // RPyC compresses its reply, whatever the setting of this side.
            assert_eq!((compressed(&tape.sent), compressed(&tape.heard)), (sent, 1), "{above:?}");
        }
    });
}

/// Counts the compressed frames.
fn compressed(mut frames: &[u8]) -> usize {
    let mut count = 0;
    while let Some((&[a, b, c, d, is_compressed], rest)) = frames.split_first_chunk() {
        count += usize::from(is_compressed != 0);
        let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap();
        frames = &rest[len + 1..];
    }
    count
}

/// The bytes that went over a stream.
#[derive(Default)]
struct Tape {
    sent: Vec<u8>,
    heard: Vec<u8>,
}

struct Taped {
    stream: TcpStream,
    tape: Arc<Mutex<Tape>>,
}

impl Taped {
    fn new(stream: TcpStream) -> (Self, Arc<Mutex<Tape>>) {
        let tape = Arc::<Mutex<Tape>>::default();
        (Self { stream, tape: tape.clone() }, tape)
    }
}

impl AsyncRead for Taped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.tape.lock().unwrap().heard.extend_from_slice(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Taped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.tape.lock().unwrap().sent.extend_from_slice(&buf[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
