//! Registrations at the rate of their acknowledgements, with watchers that get an event for each.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::{Names, Port, Request};

use crate::daemon::{Cpu, memory};
use crate::observer::{Observer, added};
use crate::watch::to_f64;

/// Concurrent registrations, few enough that none is lost in a full buffer.
const WINDOW: usize = 64;

/// The most ports that are registered of one address.
const PORTS: usize = 50_000;

/// The longest time until the watchers receive the last event.
const HEARD_WITHIN: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The address of the registry
    address: SocketAddr,
    /// The number of watchers, spread over the names
    #[arg(long, default_value = "10000")]
    watchers: usize,
    /// The number of names
    #[arg(long, default_value = "1000")]
    names: usize,
    /// The number of registrations
    #[arg(long, default_value = "50000")]
    registrations: usize,
    /// The process whose time and memory are reported
    #[arg(long)]
    pid: Option<u32>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.names > 0 && args.registrations <= PORTS, "at most {PORTS} have separate ports");
    let (address, names, registrations) = (args.address, args.names, args.registrations);
    let name = move |number: usize| format!("STORM{}", number % names);
    let mut observer = Observer::new(address, args.watchers, name)?;
    let before = args.pid.map(memory).transpose()?;
    let used = args.pid.map(Cpu::of).transpose()?;
    let began = Instant::now();
    let telling = thread::spawn(move || register(address, registrations, name));
    let expected: usize = (0..registrations)
        .map(|number| {
            let (all, name) = (args.watchers, number % names);
            all / names + usize::from(name < all % names)
        })
        .sum();
    let mut heard = 0;
    while heard < expected {
        ensure!(began.elapsed() < HEARD_WITHIN, "{heard} of {expected} events have arrived");
        observer.poll(Duration::from_millis(50), |line| {
            heard += usize::from(added(line.text).is_some());
        })?;
    }
    let all = began.elapsed();
    let took = telling.join().map_err(|_panic| anyhow!("the registrant broke"))??;
    let used = args.pid.map(Cpu::of).transpose()?.zip(used).map(|(after, before)| after - before);
    let after = args.pid.map(memory).transpose()?;
    drop(observer);
    println!(
        "{} registrations in {:.2} s ({:.0}/s); {} watchers of {} names have all {expected} events \
         after {:.2} s",
        registrations,
        took.as_secs_f64(),
        to_f64(registrations) / took.as_secs_f64(),
        args.watchers,
        names,
        all.as_secs_f64()
    );
    if let Some(((used, before), after)) = used.zip(before).zip(after) {
        println!(
            "processor: {:.2} s of its own, {:.2} s of the kernel; memory {before:.0} kB before, \
             {after:.0} kB after",
            used.user, used.kernel
        );
    }
    Ok(())
}

/// Registers without unregistering: the leases expire.
fn register(
    address: SocketAddr,
    registrations: usize,
    name: impl Fn(usize) -> String,
) -> anyhow::Result<Duration> {
    let socket = UdpSocket::bind((address.ip(), 0))?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut answer = [0; 64];
    let began = Instant::now();
    let (mut answered, mut request) = (0, Vec::new());
    for number in 0..registrations {
        if number - answered == WINDOW {
            socket.recv(&mut answer).context("a registration was not acknowledged")?;
            answered += 1;
        }
        let name = name(number);
        let port = Port::tcp(u16::try_from(10_000 + number)?)?;
        request.clear();
        let names = [ServiceName::new(&name)?];
        Request::Register { names: Names::from(&names[..]), port }.encode(&mut request)?;
        socket.send(&request)?;
    }
    while answered < registrations {
        socket.recv(&mut answer).context("a registration was not acknowledged")?;
        answered += 1;
    }
    Ok(began.elapsed())
}
