//! A TCP connection of the server's, used from here.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, ReadHalf, WriteHalf,
    duplex,
};

use super::Classic;
use crate::{CallError, Parcel, RemoteObject, args};

/// How much is in one message.
const CHUNK: usize = 64 << 10;

/// How long the server listens for data before it looks whether there is something to send: at
/// first, and when nothing has happened for a while.
const TURNS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(160));

/// A TCP connection from the server's machine to another, for instance to one that is behind the
/// same firewall. Reads and writes travel through the RPyC connection; dropping it closes both.
#[derive(Debug)]
pub struct RemoteSocket(DuplexStream);

impl Classic {
    /// Connects the server to `host`, as it knows it, and `port`.
    ///
    /// The server does one thing at a time, so listening and sending take turns, and so does
    /// whatever else is done on this connection. A separate connection is faster.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn connect_tcp(&self, host: &str, port: u16) -> Result<RemoteSocket, CallError> {
        let socket: RemoteObject =
            self.modules("socket").call("create_connection", args![(host, port)]).await?;
        let (near, far) = duplex(CHUNK);
        tokio::spawn(pump(socket, far));
        Ok(RemoteSocket(near))
    }
}

/// Carries bytes both ways until either side ends.
async fn pump(socket: RemoteObject, local: DuplexStream) {
    let (reader, writer) = tokio::io::split(local);
    if let Err(error) = carry(&socket, reader, writer).await {
        tracing::debug!(%error, "a socket of the server's has ended");
    }
    let _closed = socket.call::<()>("close", ()).await;
}

async fn carry(
    socket: &RemoteObject,
    mut reader: ReadHalf<DuplexStream>,
    mut writer: WriteHalf<DuplexStream>,
) -> Result<(), CallError> {
    let mut buffer = vec![0; CHUNK];
    let mut may_send = true;
    let mut turn = TURNS.0;
    socket.call::<()>("settimeout", args![turn.as_secs_f64()]).await?;
    let mut receiving = socket.call::<Parcel>("recv", args![CHUNK]).into_future();
    loop {
        let mut is_active = true;
        tokio::select! {
            biased;
            received = &mut receiving => {
                match received {
                    Ok(chunk) => {
                        let Ok(crate::Value::Bytes(chunk)) = chunk.into_value() else { return Ok(()) };
                        if chunk.is_empty() || writer.write_all(&chunk).await.is_err() {
                            return Ok(());
                        }
                    }
                    Err(error) if error.is("TimeoutError") || error.is("socket.timeout") => {
                        is_active = false;
                    }
                    Err(error) => return Err(error),
                }
                receiving = socket.call::<Parcel>("recv", args![CHUNK]).into_future();
            }
            sent = reader.read(&mut buffer), if may_send => match sent {
                Ok(count) if count > 0 => {
                    let chunk = Parcel::bytes(buffer.get(..count).unwrap_or_default());
                    let sending = socket.call::<()>("sendall", args![chunk]).into_future();
                    // Data that arrives meanwhile waits in the answer.
                    sending.await?;
                }
                _ => {
                    may_send = false;
                    // SHUT_WR, in every system's header.
                    socket.call::<()>("shutdown", args![1]).await?;
                }
            },
        }
        let next = if is_active { TURNS.0 } else { (turn * 2).min(TURNS.1) };
        if next != turn {
            turn = next;
            socket.call::<()>("settimeout", args![turn.as_secs_f64()]).await?;
        }
    }
}

impl AsyncRead for RemoteSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for RemoteSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
