//! A million objects at once, in either direction.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use futures_util::StreamExt;
use futures_util::stream::iter;
use rpyc_client::{Local, Parcel, RemoteObject, args};
use serde_json::json;

/// Concurrent calls.
const WIDTH: usize = 64;

/// Objects passed in one call; a message holds a million values, and a reference has six.
const TOGETHER: usize = 100_000;

pub(super) async fn storm(address: SocketAddr, count: usize) -> anyhow::Result<()> {
    let connection = rpyc_client::connect(address).await?;
    let root = connection.root().await?;
    let calls = iter(0..count).map(|start| root.call::<RemoteObject>("counter", args![start]));
    let start = Instant::now();
    let held: Vec<_> = calls.map(IntoFuture::into_future).buffered(WIDTH).collect().await;
    let held = held.into_iter().collect::<Result<Vec<_>, _>>()?;
    let taken = start.elapsed();
    ensure!(root.call::<usize>("live", ()).await? == count, "the server holds them");
    let start = Instant::now();
    drop(held);
    while root.call::<usize>("live", ()).await? > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let let_go = start.elapsed();

    let start = Instant::now();
    let mut passed = 0;
    while passed < count {
        let some = TOGETHER.min(count - passed);
        let objects = (0..some).map(|_| Local::function(|_| async { Ok(()) }).into());
        let same: Parcel = root.call("echo", args![Parcel::tuple(objects.collect())]).await?;
        ensure!(same.into_members().is_ok_and(|all| all.len() == some), "they come back");
        passed += some;
    }
    while connection.stats().exports > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let stats = connection.stats();
    println!(
        "{}",
        json!({
            "objects": count, "taken_s": taken.as_secs_f64(), "let_go_s": let_go.as_secs_f64(),
            "passed_s": start.elapsed().as_secs_f64(), "held_by_the_client": stats.imports,
            "offered_by_the_client": stats.exports, "calls_in_flight": stats.calls,
        })
    );
    Ok(())
}
