//! Serves the sockets of one lane until the end.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::batch::{UdpFace, now};
use super::inlets::Inlets;
use crate::counters::Loss;
use crate::face::Reception;
use crate::face::reception::SOCKET_ERROR_PAUSE;
use crate::net::UdpSocketPair;

/// The most batches that are served before a sweep, and at the end: as many datagrams as the
/// largest receive buffer holds. So incoming datagrams cannot prevent either.
const DRAINED_BATCHES: usize = 256;

/// Serves the sockets of one lane until `stop`, then sends the waiting answers for at most `grace`.
///
/// Cancel safe, but received datagrams may stay unanswered.
pub(crate) async fn serve(
    pairs: Vec<UdpSocketPair>,
    reception: Arc<Reception>,
    stop: CancellationToken,
    grace: Duration,
) {
    let mut stopped = pin!(stop.cancelled());
    let mut face = UdpFace::new(&pairs, Arc::clone(&reception));
    let mut inlets = Inlets::new(pairs);
    let mut sweeps = reception.drain.join();
    loop {
        let served = tokio::select! {
            () = &mut stopped => break,
            ready = poll_fn(|cx| inlets.poll_readable(cx)) => {
                ready.and_then(|()| face.serve_batch(&mut inlets))
            }
            Some(settled) = face.waiting.next() => {
                face.send_settled(settled);
                Ok(true)
            }
            Some(served) = sweeps.recv() => {
                let drained = drain(&mut face, &mut inlets).await;
                drop(served);
                drained
            }
        };
        match served {
            Ok(true) => {}
            // A socket that is always ready must not starve other tasks.
            Ok(false) => tokio::task::yield_now().await,
            Err(error) => {
                reception.lost(now(), Loss::Socket, "this socket", &error);
                tokio::time::sleep(SOCKET_ERROR_PAUSE).await;
            }
        }
    }
    // Datagrams that arrived before the end are served, above all UNREGISTER requests.
    let _ = drain(&mut face, &mut inlets).await;
    let finish = async {
        while let Some(settled) = face.waiting.next().await {
            face.send_settled(settled);
        }
    };
    // A change that is not durable by then is not acknowledged.
    let _ = tokio::time::timeout(grace, finish).await;
}

/// Serves the datagrams that have arrived. Returns whether the queue is empty.
async fn drain(face: &mut UdpFace, inlets: &mut Inlets) -> io::Result<bool> {
    for _ in 0..DRAINED_BATCHES {
        if face.serve_batch(inlets)? {
            return Ok(true);
        }
        tokio::task::yield_now().await;
    }
    Ok(false)
}
