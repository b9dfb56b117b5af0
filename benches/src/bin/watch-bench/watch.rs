//! Changes one after the other, and how soon each watcher knows.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use hdrhistogram::Histogram;

use crate::beside::Beside;
use crate::changes::Changes;
use crate::daemon::{Cpu, memory};
use crate::observer::{Observer, added, now};

/// The port that the first change registers; each has its own, by which its news are known.
const FIRST_PORT: u16 = 10_000;

/// The longest that the watchers may take to hear of the last change.
const HEARD_WITHIN: Duration = Duration::from_secs(20);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the registry listens
    address: SocketAddr,
    /// How many watchers there are
    #[arg(long, default_value = "10000")]
    watchers: usize,
    /// How many names they watch: with 1 everybody is told of each change, with as many as there are
    /// watchers one is
    #[arg(long, default_value = "1")]
    names: usize,
    /// How many changes are made
    #[arg(long, default_value = "40", value_parser = clap::value_parser!(u16).range(1..50_000))]
    changes: u16,
    /// Milliseconds from one change to the next
    #[arg(long, default_value = "250")]
    pace: u64,
    /// Milliseconds that the observer leaves the machine to the daemon after each change
    #[arg(long, default_value = "0")]
    hold: u64,
    /// Somebody asks for a name over UDP meanwhile, and is measured as well
    #[arg(long)]
    ask: bool,
    /// The process whose time and memory are told
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
        ensure!(since.elapsed() < HEARD_WITHIN, "{heard} of {expected} events have been told");
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
            "processor: {:.2} us of its own and {:.2} us of the kernel an event; {:.2} s in all",
            each(used.user),
            each(used.kernel),
            used.user + used.kernel
        );
    }
    Ok(())
}

/// What has been heard of the changes.
struct News {
    /// When each was made.
    sent: Vec<i64>,
    /// How long it took until the last knew of each.
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
        // Grows as it must; there is nothing that it cannot hold.
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

/// Prints nanoseconds as microseconds.
pub(crate) fn print_percentiles(took: &Histogram<u64>) {
    let at = |quantile| took.value_at_quantile(quantile) / 1000;
    let (middle, most, all) = (at(0.5), at(0.99), took.max() / 1000);
    println!(" median {middle}, 99 % {most}, longest {all} ({} times)", took.len());
}

pub(crate) fn to_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
