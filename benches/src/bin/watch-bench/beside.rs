//! A client that resolves a name over UDP all the time, and the latency of its answers.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use hdrhistogram::Histogram;
use rpyc_protocol::registry::Request;

/// The pause between an answer and the next request, which leaves the machine to others.
const PAUSE: Duration = Duration::from_millis(1);

pub(crate) struct Beside {
    stop: Arc<AtomicBool>,
    asking: JoinHandle<anyhow::Result<Histogram<u64>>>,
}

impl Beside {
    pub(crate) fn start(address: SocketAddr, name: &str) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((address.ip(), 0))?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut question = Vec::new();
        Request::Query { name }.encode(&mut question)?;
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let asking = std::thread::spawn(move || {
            let mut took = Histogram::new(3)?;
            let mut answer = [0; 2048];
            while !until.load(Ordering::Relaxed) {
                let asked = Instant::now();
                socket.send(&question)?;
                socket.recv(&mut answer).context("a query was not answered within a second")?;
                took.record(u64::try_from(asked.elapsed().as_nanos())?)?;
                std::thread::sleep(PAUSE);
            }
            Ok(took)
        });
        Ok(Self { stop, asking })
    }

    /// The latencies of the answers, in nanoseconds.
    pub(crate) fn end(self) -> anyhow::Result<Histogram<u64>> {
        self.stop.store(true, Ordering::Relaxed);
        self.asking.join().map_err(|_panic| anyhow!("the asker broke"))?
    }
}
