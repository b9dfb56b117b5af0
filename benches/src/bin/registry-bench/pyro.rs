//! Pyro5's name server: plays back the bytes of real lookups over many connections, so that no
//! Python client limits the rate.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Load;

/// The length of a message's header. It has the length of the payload at 12 and that of the
/// annotations at 16.
const HEAD: usize = 40;

/// The type of an answer to a call, which follows the version of the protocol.
const RESULT: u8 = 5;

struct Call {
    request: Vec<u8>,
    payload: Vec<u8>,
}

pub(super) async fn run(address: &str, load: Load, calls: &Path) -> anyhow::Result<()> {
    let document: Value = serde_json::from_slice(&std::fs::read(calls)?)?;
    let connect = bytes(document.get("connect"))?;
    let calls = document.get("calls").and_then(Value::as_array).context("no calls")?;
    let calls: Vec<Call> = calls
        .iter()
        .map(|call| {
            let (request, payload) = (bytes(call.get("request"))?, bytes(call.get("payload"))?);
            Ok(Call { request, payload })
        })
        .collect::<anyhow::Result<_>>()?;
    let (calls, connect) = (&calls, &connect);
    load.run(|asker, until| async move {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(connect).await?;
        let (mut kind, mut payload) = (0, Vec::new());
        receive(&mut stream, &mut kind, &mut payload).await?;
        let mut times = Vec::new();
        // Each asker begins with another name.
        for call in calls.iter().cycle().skip(asker * 7 % calls.len()) {
            let start = Instant::now();
            if start >= until {
                break;
            }
            stream.write_all(&call.request).await?;
            receive(&mut stream, &mut kind, &mut payload).await?;
            ensure!(
                kind == RESULT && payload == call.payload,
                "not the answer that its own client got"
            );
            times.push(start.elapsed());
        }
        Ok(times)
    })
    .await
}

/// Reads a message: its type, and its payload without annotations.
async fn receive(
    stream: &mut TcpStream,
    kind: &mut u8,
    payload: &mut Vec<u8>,
) -> anyhow::Result<()> {
    let mut head = [0; HEAD];
    stream.read_exact(&mut head).await?;
    let [b'P', b'Y', b'R', b'O', _, _, told, ..] = head else {
        anyhow::bail!("not a message of Pyro5");
    };
    let [.., d0, d1, d2, d3, a0, a1, a2, a3] = *head.first_chunk::<20>().context("a head")?;
    let data = u32::from_be_bytes([d0, d1, d2, d3]) as usize;
    let annotations = u32::from_be_bytes([a0, a1, a2, a3]) as usize;
    payload.resize(annotations + data, 0);
    stream.read_exact(payload).await?;
    payload.drain(..annotations);
    *kind = told;
    Ok(())
}

fn bytes(hex: Option<&Value>) -> anyhow::Result<Vec<u8>> {
    let hex = hex.and_then(Value::as_str).context("no hexadecimal text")?;
    let byte = |at| hex.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    let all: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
    all.context("not hexadecimal")
}
