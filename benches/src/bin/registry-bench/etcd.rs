//! etcd: a key `/NAME/INSTANCE` for each instance, with its own lease. A query is a range over the
//! keys of a name, a renewal a keep-alive of a lease.

use std::time::Instant;

use anyhow::{Context, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use clap::Args;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::net::TcpStream;

use super::Load;

/// Long enough for all measurements.
const TTL: u64 = 3600;

/// The length of a message's prefix: a byte for compression, and the length.
const HEAD: usize = 5;

#[derive(Clone, Copy, Args)]
pub(super) struct Size {
    #[arg(long, default_value = "1000")]
    names: u64,
    #[arg(long, default_value = "5000")]
    instances: u64,
}

pub(super) async fn fill(address: &str, load: Load, size: &Size) -> anyhow::Result<()> {
    let client = connect(address).await?;
    let (client, size) = (&client, *size);
    load.run(|asker, _| async move {
        let mut times = Vec::new();
        for instance in (asker as u64..size.instances).step_by(load.window) {
            let start = Instant::now();
            let lease = instance + 1;
            let grant = [number(1, TTL), number(2, lease)].concat();
            let granted = unary(client, "/etcdserverpb.Lease/LeaseGrant", &grant).await?;
            ensure!(find(&granted, 2) == Some(lease), "another lease was granted");
            let value = text(2, format!("127.64.0.1:{}", 1 + instance).as_bytes());
            let put = [text(1, &key(&size, instance)), value, number(3, lease)].concat();
            unary(client, "/etcdserverpb.KV/Put", &put).await?;
            times.push(start.elapsed());
        }
        Ok(times)
    })
    .await
}

pub(super) async fn get(address: &str, load: Load, size: &Size) -> anyhow::Result<()> {
    let client = connect(address).await?;
    let (client, size) = (&client, *size);
    let expected = size.instances / size.names;
    load.run(|asker, until| async move {
        let (mut times, mut name) = (Vec::new(), asker as u64);
        loop {
            let start = Instant::now();
            if start >= until {
                return Ok(times);
            }
            name = (name + 7) % size.names;
            // The keys from "/NAME/" up to "/NAME0", the next possible key after that prefix.
            let [from, to] = ["/", "0"].map(|end| format!("/BENCH-{name}{end}"));
            let range = [text(1, from.as_bytes()), text(2, to.as_bytes())].concat();
            let found = unary(client, "/etcdserverpb.KV/Range", &range).await?;
            ensure!(find(&found, 4) == Some(expected), "not the instances of the name");
            times.push(start.elapsed());
        }
    })
    .await
}

pub(super) async fn keep_alive(address: &str, load: Load, size: &Size) -> anyhow::Result<()> {
    let client = connect(address).await?;
    let (client, size) = (&client, *size);
    load.run(|asker, until| async move {
        let mut stream = Stream::open(client, "/etcdserverpb.Lease/LeaseKeepAlive").await?;
        let (mut times, mut lease) = (Vec::new(), asker as u64);
        loop {
            let start = Instant::now();
            if start >= until {
                return Ok(times);
            }
            lease = (lease + 7) % size.instances;
            stream.send(&number(1, 1 + lease), false)?;
            let renewed = stream.receive().await?.context("the stream has ended")?;
            let (id, ttl) = (find(&renewed, 2), find(&renewed, 3));
            ensure!(id == Some(1 + lease) && ttl == Some(TTL), "not the lease, or it has ended");
            times.push(start.elapsed());
        }
    })
    .await
}

fn key(size: &Size, instance: u64) -> Vec<u8> {
    format!("/BENCH-{}/{instance}", instance % size.names).into_bytes()
}

async fn connect(address: &str) -> anyhow::Result<SendRequest<Bytes>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (client, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 26)
        .handshake(stream)
        .await?;
    tokio::spawn(async move {
        // A request that waits for its answer reports the end of the connection.
        let _ = connection.await;
    });
    Ok(client)
}

/// One call of gRPC: messages in both directions.
struct Stream {
    out: SendStream<Bytes>,
    answer: Option<h2::client::ResponseFuture>,
    body: Option<RecvStream>,
    read: BytesMut,
}

impl Stream {
    async fn open(client: &SendRequest<Bytes>, path: &str) -> anyhow::Result<Self> {
        let request = Request::post(format!("http://etcd{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut client = client.clone().ready().await?;
        let (answer, out) = client.send_request(request, false)?;
        Ok(Self { out, answer: Some(answer), body: None, read: BytesMut::new() })
    }

    fn send(&mut self, message: &[u8], is_last: bool) -> anyhow::Result<()> {
        let len = u32::try_from(message.len())?;
        let framed = [&[0], &len.to_be_bytes()[..], message].concat();
        Ok(self.out.send_data(framed.into(), is_last)?)
    }

    /// The next message, or `None` if the call has ended without an error.
    async fn receive(&mut self) -> anyhow::Result<Option<Bytes>> {
        if let Some(answer) = self.answer.take() {
            let (head, body) = answer.await?.into_parts();
            ensure!(head.status == 200, "status {}", head.status);
            check_status(&head.headers, true)?;
            self.body = Some(body);
        }
        let body = self.body.as_mut().context("no answer")?;
        loop {
            if let Some(head) = self.read.first_chunk::<HEAD>() {
                let [_, len @ ..] = *head;
                let len = u32::from_be_bytes(len) as usize;
                if self.read.len() >= HEAD + len {
                    self.read.advance(HEAD);
                    return Ok(Some(self.read.split_to(len).freeze()));
                }
            }
            match body.data().await.transpose()? {
                Some(data) => {
                    body.flow_control().release_capacity(data.len())?;
                    self.read.extend_from_slice(&data);
                }
                None => {
                    let trailers = body.trailers().await?.context("no trailers")?;
                    check_status(&trailers, false)?;
                    return Ok(None);
                }
            }
        }
    }
}

fn check_status(headers: &HeaderMap, may_lack: bool) -> anyhow::Result<()> {
    match headers.get("grpc-status").map(|status| status.as_bytes()) {
        Some(b"0") => Ok(()),
        None if may_lack => Ok(()),
        _ => bail!("gRPC failed: {headers:?}"),
    }
}

async fn unary(client: &SendRequest<Bytes>, path: &str, message: &[u8]) -> anyhow::Result<Bytes> {
    let mut stream = Stream::open(client, path).await?;
    stream.send(message, true)?;
    let answer = stream.receive().await?.context("no message")?;
    ensure!(!answer.is_empty() && stream.receive().await?.is_none(), "not one message");
    Ok(answer)
}

/// A field of a protobuf message that is a number.
fn number(field: u8, value: u64) -> Vec<u8> {
    let mut bytes = vec![field << 3];
    varint(value, &mut bytes);
    bytes
}

/// A field of a protobuf message that is text.
fn text(field: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![field << 3 | 2];
    varint(value.len() as u64, &mut bytes);
    bytes.extend(value);
    bytes
}

fn varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap_or(0));
}

/// The number in a field of a protobuf message.
fn find(mut message: &[u8], field: u64) -> Option<u64> {
    while !message.is_empty() {
        let head = take_varint(&mut message)?;
        let value = take_varint(&mut message)?;
        match head & 7 {
            0 if head >> 3 == field => return Some(value),
            0 => {}
            2 => message = message.get(usize::try_from(value).ok()?..)?,
            _ => return None,
        }
    }
    None
}

fn take_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
