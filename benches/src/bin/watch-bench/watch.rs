//! One change after another, and when each watcher knows.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use hdrhistogram::Histogram;

use crate::beside::Beside;
use crate::changes::Changes;
use crate::daemon::{Cpu, memory};
use crate::observer::{Observer, added, now};

/// The port of the first change. Each change has another port, which identifies its events.
const FIRST_PORT: u16 = 10_000;

/// The longest time until the watchers receive the last event.
const HEARD_WITHIN: Duration = Duration::from_secs(20);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The address of the registry
    address: SocketAddr,
    /// The number of watchers
    #[arg(long, default_value = "10000")]
    watchers: usize,
    /// The number of names: with 1, each change reaches every watcher; with as many as there are
    /// watchers, it reaches one
    #[arg(long, default_value = "1")]
    names: usize,
    /// The number of changes
    #[arg(long, default_value = "40", value_parser = clap::value_parser!(u16).range(1..50_000))]
    changes: u16,
    /// Milliseconds between two changes
    #[arg(long, default_value = "250")]
    pace: u64,
    /// Milliseconds for which the observer leaves the machine to the daemon after each change
    #[arg(long, default_value = "0")]
    hold: u64,
    /// Also resolve a name over UDP all the time, and measure that
    #[arg(long)]
    ask: bool,
    /// The process whose time and memory are reported
    #[arg(long)]
    pid: Option<u32>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.names > 0 && args.pace > 0, "there must be a name and a pace");
    let name = |number: usize| format!("WATCHED{}", number % args.names);
    let before = args.pid.map(memory).transpose()?;
    let mut changes = Changes::new(args.address)?;
    let mut observer = Observer::new(args.address, args.watchers, name)?;
    let after = args.pid.map(memory).transpose()?;
    let told = |change: usize| {
        let (all, names) = (args.watchers, args.names);
        all / names + usize::from(change % names < all % names)
    };
    let expected: usize = (0..usize::from(args.changes)).map(told).sum();

    let mut news = News { sent: Vec::new(), last: Vec::new(), took: Histogram::new(3)?, heard: 0 };
    let beside = args.ask.then(|| Beside::start(args.address, &name(0))).transpose()?;
    let used = args.pid.map(Cpu::of).transpose()?;
    let (pace, hold) = (Duration::from_millis(args.pace), Duration::from_millis(args.hold));
    let mut next = Instant::now();
    for change in 0..args.changes {
        news.sent.push(now()?);
        news.last.push(0);
        changes.make(&name(usize::from(change)), FIRST_PORT + change)?;
        std::thread::sleep(hold);
        next += pace;
        while let Some(left) = next.checked_duration_since(Instant::now()) {
            observer.poll(left, |line| news.take(line.at, line.text))?;
        }
    }
    let since = Instant::now();
    while news.heard < expected {
        let heard = news.heard;
        ensure!(since.elapsed() < HEARD_WITHIN, "{heard} of {expected} events have arrived");
        observer.poll(Duration::from_millis(50), |line| news.take(line.at, line.text))?;
    }
    let used = args.pid.map(Cpu::of).transpose()?.zip(used).map(|(after, before)| after - before);
    let asked = beside.map(Beside::end).transpose()?;
    let with_news = args.pid.map(memory).transpose()?;
    drop(observer);
    changes.end()?;

    news.print(args.watchers, args.names);
    if let Some(asked) = asked {
        print!("a query beside them, in us:");
        print_percentiles(&asked);
    }
    if let Some(((before, after), with_news)) = before.zip(after).zip(with_news) {
        let each = |kilobytes: f64| (kilobytes - before) * 1024.0 / to_f64(args.watchers);
        println!(
            "memory: {before:.0} kB before, {:.0} bytes a watcher, {:.0} after the changes",
            each(after),
            each(with_news)
        );
    }
    if let Some(used) = used {
        let each = |seconds: f64| seconds * 1e6 / to_f64(expected);
        println!(
            "processor: {:.2} us user and {:.2} us kernel an event; {:.2} s in all",
            each(used.user),
            each(used.kernel),
            used.user + used.kernel
        );
    }
    Ok(())
}

/// The events that have been received.
struct News {
    /// When each change was made.
    sent: Vec<i64>,
    /// The time until the last watcher knew of each.
    last: Vec<i64>,
    took: Histogram<u64>,
    heard: usize,
}

impl News {
    fn take(&mut self, at: i64, line: &[u8]) {
        let change = added(line).and_then(|port| port.checked_sub(FIRST_PORT)).map(usize::from);
        let Some(change) = change else { return };
        let (Some(sent), Some(last)) = (self.sent.get(change), self.last.get_mut(change)) else {
            return;
        };
        let took = at - sent;
        *last = took.max(*last);
        // The histogram grows as needed and takes any value.
        self.heard += usize::from(self.took.record(u64::try_from(took).unwrap_or(0)).is_ok());
    }

    fn print(&self, watchers: usize, names: usize) {
        print!("{watchers} watchers of {names} names, a change known, in us:");
        print_percentiles(&self.took);
        let mut last = self.last.clone();
        last.sort_unstable();
        let median = last.get(last.len() / 2).copied().unwrap_or(0) / 1000;
        println!("until the last of them knows, in us: median {median}");
    }
}

/// Prints nanoseconds in microseconds.
pub(crate) fn print_percentiles(took: &Histogram<u64>) {
    let at = |quantile| took.value_at_quantile(quantile) / 1000;
    let (middle, most, all) = (at(0.5), at(0.99), took.max() / 1000);
    println!(" median {middle}, 99 % {most}, longest {all} ({} times)", took.len());
}

pub(crate) fn to_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
