//! Many connections at once, as after a restart of every client: each sends one request and stays.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket, sockopt,
};

use crate::daemon::{Cpu, memory};
use crate::watch::{print_percentiles, to_f64};

const REQUEST: &[u8] = b"{\"v\":1,\"op\":\"resolve\",\"name\":\"nobody\"}\n";

/// The longest time until the last of them is answered.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// How often a further client connects, asks and disconnects while the others are idle.
const ALONE: usize = 1000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The address of the registry
    address: SocketAddr,
    /// The number of connections
    #[arg(long, default_value = "10000")]
    connections: usize,
    /// The process whose time and memory are reported
    #[arg(long)]
    pid: Option<u32>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let before = args.pid.map(memory).transpose()?;
    let used = args.pid.map(Cpu::of).transpose()?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let address = SockaddrStorage::from(args.address);
    let family = if args.address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let began = Instant::now();
    let mut clients = Vec::new();
    for number in 0..args.connections {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let stream = TcpStream::from(socket(family, SockType::Stream, flags, None)?);
        setsockopt(&stream, sockopt::TcpNoDelay, &true)?;
        match connect(stream.as_raw_fd(), &address) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(error) => return Err(error).context("cannot connect"),
        }
        // Writable means connected; the request can be sent.
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLOUT, u64::try_from(number)?))?;
        clients.push(stream);
    }
    let called = began.elapsed();

    let mut took = Histogram::<u64>::new(3)?;
    let mut ready = vec![EpollEvent::empty(); 1024];
    let mut answer = [0; 4096];
    while took.len() < u64::try_from(args.connections)? {
        let count = took.len();
        ensure!(began.elapsed() < ANSWERED_WITHIN, "{count} of {} are answered", args.connections);
        let events = epoll.wait(&mut ready, EpollTimeout::from(100_u8))?;
        for event in ready.iter().take(events) {
            let Some(stream) = clients.get_mut(usize::try_from(event.data())?) else { continue };
            if event.events().contains(EpollFlags::EPOLLIN) {
                ensure!(stream.read(&mut answer)? > 0, "the registry closed a connection");
                took.record(u64::try_from(began.elapsed().as_nanos())?)?;
                epoll.delete(&*stream)?;
            } else {
                stream.write_all(REQUEST).context("the registry does not take a connection")?;
                let mut reading = EpollEvent::new(EpollFlags::EPOLLIN, event.data());
                epoll.modify(&*stream, &mut reading)?;
            }
        }
    }
    let used = args.pid.map(Cpu::of).transpose()?.zip(used).map(|(after, before)| after - before);
    println!("{} called within {:.0} ms", args.connections, called.as_secs_f64() * 1e3);
    print!("from the first call until each is answered, in us:");
    print_percentiles(&took);
    if let Some(((used, before), after)) = used.zip(before).zip(args.pid.map(memory).transpose()?) {
        let each = (after - before) * 1024.0 / to_f64(args.connections);
        let time = 1e6 / to_f64(args.connections);
        println!("memory: {before:.0} kB before, {each:.0} bytes a connection");
        println!(
            "processor: {:.1} us user and {:.1} us kernel a connection",
            used.user * time,
            used.kernel * time
        );
    }

    let mut took = Histogram::<u64>::new(3)?;
    for _ in 0..ALONE {
        let asked = Instant::now();
        let mut stream = TcpStream::connect(args.address)?;
        stream.write_all(REQUEST)?;
        ensure!(stream.read(&mut answer)? > 0, "one more client is not served");
        took.record(u64::try_from(asked.elapsed().as_nanos())?)?;
    }
    print!("one more connects and is answered, in us:");
    print_percentiles(&took);
    Ok(())
}
