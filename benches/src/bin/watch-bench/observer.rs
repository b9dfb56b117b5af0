//! The watchers: many sockets, one thread.

use std::io::{IoSliceMut, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use nix::time::ClockId;

/// The longest time until all watchers have their first answer.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// The watchers.
pub(crate) struct Observer {
    epoll: Epoll,
    streams: Vec<TcpStream>,
    /// The beginnings of incomplete lines.
    begun: Vec<Vec<u8>>,
    space: Vec<u8>,
    ready: Vec<EpollEvent>,
}

/// One received line.
pub(crate) struct Line<'a> {
    /// When the kernel received it, in nanoseconds of the wall clock.
    pub(crate) at: i64,
    pub(crate) text: &'a [u8],
}

impl Observer {
    /// Connects `watchers` times and watches the names that `name_of` returns; returns once all
    /// watchers have their first answer.
    pub(crate) fn new(
        address: SocketAddr,
        watchers: usize,
        name_of: impl Fn(usize) -> String,
    ) -> anyhow::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut streams = Vec::new();
        for number in 0..watchers {
            let mut stream = TcpStream::connect(address)
                .with_context(|| format!("cannot connect watcher {number} to {address}"))?;
            setsockopt(&stream, sockopt::ReceiveTimestampns, &true)?;
            let name = name_of(number);
            writeln!(stream, r#"{{"v":1,"op":"watch","glob":"{name}"}}"#)?;
            stream.set_nonblocking(true)?;
            epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, u64::try_from(number)?))?;
            streams.push(stream);
        }
        let begun = vec![Vec::new(); watchers];
        let ready = vec![EpollEvent::empty(); 1024];
        let mut observer = Self { epoll, streams, begun, space: vec![0; 64 << 10], ready };
        let (mut settled, since) = (0, Instant::now());
        while settled < watchers {
            ensure!(
                since.elapsed() < SETTLED_WITHIN,
                "{settled} of {watchers} watchers have an answer"
            );
            observer.poll(Duration::from_millis(100), |line| {
                settled += usize::from(has(line.text, br#""kind":"current""#));
            })?;
        }
        Ok(observer)
    }

    /// Reads all available lines, waiting for at most the given time.
    pub(crate) fn poll(
        &mut self,
        within: Duration,
        mut heard: impl FnMut(Line<'_>),
    ) -> anyhow::Result<()> {
        let within = EpollTimeout::try_from(within.min(Duration::from_secs(1)))?;
        let ready = match self.epoll.wait(&mut self.ready, within) {
            Err(Errno::EINTR) => 0,
            ready => ready?,
        };
        for event in self.ready.iter().take(ready) {
            let number = usize::try_from(event.data())?;
            let (Some(stream), Some(begun)) =
                (self.streams.get(number), self.begun.get_mut(number))
            else {
                continue;
            };
            let mut control = cmsg_space!(TimeSpec);
            let mut parts = [IoSliceMut::new(&mut self.space)];
            let received = recvmsg::<()>(
                stream.as_raw_fd(),
                &mut parts,
                Some(&mut control),
                MsgFlags::empty(),
            );
            let received = match received {
                Err(Errno::EAGAIN) => continue,
                received => received.with_context(|| format!("watcher {number} is lost"))?,
            };
            ensure!(received.bytes > 0, "the registry has closed the connection of {number}");
            let at = received.cmsgs()?.find_map(|message| match message {
                ControlMessageOwned::ScmTimestampns(at) => Some(nanos(at)),
                _ => None,
            });
            let len = received.bytes;
            // Stamping begins a moment after it is requested.
            let at = at.map_or_else(now, Ok)?;
            begun.extend(self.space.iter().take(len));
            let whole = begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            for text in begun.split_inclusive(|byte| *byte == b'\n') {
                if text.ends_with(b"\n") {
                    heard(Line { at, text });
                }
            }
            begun.drain(..whole);
            if begun.is_empty() {
                // A watcher must cost the observer little memory, or the measurement would include
                // it.
                *begun = Vec::new();
            }
        }
        Ok(())
    }
}

/// The current time, in nanoseconds of the clock with which the kernel stamps.
pub(crate) fn now() -> anyhow::Result<i64> {
    Ok(nanos(ClockId::CLOCK_REALTIME.now()?))
}

fn nanos(time: TimeSpec) -> i64 {
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

/// Whether `line` contains `text`.
pub(crate) fn has(line: &[u8], text: &[u8]) -> bool {
    line.windows(text.len()).any(|window| window == text)
}

/// The port of the instance that a line reports as added.
pub(crate) fn added(line: &[u8]) -> Option<u16> {
    const PORT: &[u8] = br#""port":"#;
    if !has(line, br#""kind":"added""#) {
        return None;
    }
    let at = line.windows(PORT.len()).position(|window| window == PORT)? + PORT.len();
    let digits = line.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit());
    digits.copied().try_fold(0_u16, |port, digit| {
        port.checked_mul(10)?.checked_add(u16::from(digit.checked_sub(b'0')?))
    })
}
