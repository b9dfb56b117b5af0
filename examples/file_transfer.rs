//! Copies a file or a whole folder to or from a classic server.
//!
//! ```text
//! rpyc_classic &
//! cargo run --example file_transfer -- localhost:18812 upload HERE THERE
//! cargo run --example file_transfer -- localhost:18812 download THERE HERE
//! python3 examples/python/file_transfer.py localhost:18812 upload HERE THERE
//! ```
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;
use std::io::{IsTerminal, Write};

use rpyc_client::classic::{self, Progress};

/// Shows the progress of a file: continuously on a terminal, otherwise once at its end.
fn show(progress: Progress<'_>) {
    let is_done = progress.done == progress.total;
    let mut out = std::io::stdout().lock();
    if !is_done && !out.is_terminal() {
        return;
    }
    let end = if is_done { '\n' } else { '\r' };
    let file = progress.file.display();
    // A closed terminal must not stop the copy.
    let _ = write!(out, "{file}: {} of {} bytes{end}", progress.done, progress.total);
    let _ = out.flush();
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let [address, direction, from, to] = &*words else {
        return Err("use: file_transfer HOST:PORT upload|download FROM TO".into());
    };
    let machine = classic::connect(address).await?;
    match &**direction {
        "upload" => machine.upload(from, to, show).await?,
        "download" => machine.download(from, to, show).await?,
        _ => return Err("there are upload and download".into()),
    }
    println!("{from} is copied");
    machine.connection().close().await;
    Ok(())
}
