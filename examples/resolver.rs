//! Asks PAYROLL for a salary every second, and prints changes of its servers and of the registry.
//!
//! ```text
//! cargo run --example payroll_server &       # several of them, to be stopped and started
//! cargo run --example resolver -- Mertz David
//! ```
//!
//! `RPYC_REGISTRY=HOST:PORT` names the registry; without it, the program looks for one nearby. A
//! number as the third argument ends it after that many salaries.
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;
use std::time::Duration;

use rpyc_client::{LoadBalancing, Registries, Resolver, args};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let last = words.next().unwrap_or_else(|| "Mertz".to_owned());
    let first = words.next().unwrap_or_else(|| "David".to_owned());
    let times = words.next().map_or(Ok(usize::MAX), |word| word.parse())?;

    let resolver = Resolver::builder(Registries::from_env()?)
        .load_balancing(LoadBalancing::RoundRobin)
        .on_event(|event| println!("{}: {:?}", event.name, event.kind))
        .build();
    let mut following = resolver.follow("PAYROLL").await?;
    tokio::spawn(async move {
        while following.changed().await.is_ok() {
            let known = following.borrow_and_update().clone();
            for instance in &known.instances {
                println!("{} {} {}", known.freshness, instance.endpoint, instance.state);
            }
        }
    });
    for time in 0..times {
        if time > 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // From memory, even if no registry is reachable at the moment.
        let connection = resolver.connect("PAYROLL").await?;
        let payroll = connection.root().await?;
        let salary: f64 = payroll.call("get_salary", args![last.as_str(), first.as_str()]).await?;
        println!("{first} {last} earns {salary} a month");
        connection.close().await;
    }
    Ok(())
}
