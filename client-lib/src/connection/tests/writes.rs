//! How often a connection writes: once for whatever is ready.

use std::io;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::task::{Context as TaskContext, Poll, ready};

use rpyc_protocol::brine::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::*;

/// A stream that counts what would be system calls.
#[derive(Debug)]
struct Counting {
    stream: DuplexStream,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    reads: AtomicUsize,
    writes: AtomicUsize,
}

impl Counts {
    /// Reads and writes since the last look.
    fn take(&self) -> (usize, usize) {
        (self.reads.swap(0, Ordering::Relaxed), self.writes.swap(0, Ordering::Relaxed))
    }
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.counts.reads.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.counts.writes.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A client and the counts of both ends.
fn counted(server: ConnectionBuilder) -> (Connection, Connection, [Arc<Counts>; 2]) {
    let (near, far) = duplex(4 << 20);
    let counts = [Arc::<Counts>::default(), Arc::default()];
    let far = Counting { stream: far, counts: counts[1].clone() };
    let near = Counting { stream: near, counts: counts[0].clone() };
    let (server, driver) = server.serving(Local::new(Counter::default())).accept(far);
    tokio::spawn(driver);
    (Connection::builder().compress_above(None).over(near), server, counts)
}

#[tokio::test]
async fn a_call_is_one_write_and_one_read_on_either_side() {
    let (client, _server, counts) = counted(Connection::builder());
    let root = client.root().await.unwrap();
    let _ = counts.each_ref().map(|counts| counts.take());
    for expected in 1..=100 {
        assert_eq!(root.call::<i64>("inc", args![1]).await.unwrap(), expected);
    }
    assert_eq!(counts.each_ref().map(|counts| counts.take()), [(100, 100), (100, 100)]);
}

/// Header, payload and end of a frame are one write however long it is, and so are all the frames
/// that wait.
#[tokio::test]
async fn whatever_is_ready_is_one_write() {
    let (client, _server, [near, far]) = counted(Connection::builder().compress_above(None));
    let root = client.root().await.unwrap();
    let _ = (near.take(), far.take());
    let calls = (0..100).map(|_| root.call::<i64>("inc", args![1]).into_future());
    let sum: i64 =
        futures_util::future::join_all(calls).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(sum, 5050);
    assert_eq!((near.take().1, far.take().1), (1, 1));

    let block = Parcel::bytes(vec![7; 1 << 20]);
    let back: Parcel = root.call("echo", args![block]).await.unwrap();
    assert!(matches!(back, Parcel::Value(Value::Bytes(bytes)) if bytes.len() == 1 << 20));
    assert_eq!((near.take().1, far.take().1), (1, 1));
}
