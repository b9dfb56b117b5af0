//! Passes functions of this program to a remote Python, which calls them at any time.
//!
//! ```text
//! rpyc_classic &
//! cargo run --example callbacks -- localhost:18812    # or: python3 examples/python/callbacks.py
//! ```
//!
//! It needs no serving thread: requests of the peer are answered while this side waits for
//! something else, or is idle.
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;

use rpyc_client::{Local, RemoteObject, args, classic};
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "localhost:18812".to_owned());
    let machine = classic::connect(address).await?;

    // Called during a call, and calls back: the match is an object of the peer.
    let shout = Local::function(|args| async move {
        let (found,): (RemoteObject,) = args.parse()?;
        let word: String = found.call("group", ()).await?;
        Ok(word.to_uppercase())
    });
    let re = machine.modules("re").await?;
    let text: String =
        re.call("sub", args!["[a-z]{5,}", shout, "many hands make light work"]).await?;
    println!("{text}");

    // Called later, from another thread of the peer.
    let (tell, mut told) = mpsc::channel(1);
    let late = Local::function(move |args| {
        let tell = tell.clone();
        async move {
            let (word,): (String,) = args.parse()?;
            // This fails only if the receiver has been dropped.
            let _ = tell.send(word).await;
            Ok(())
        }
    });
    let threading = machine.modules("threading").await?;
    let timer: RemoteObject = threading.call("Timer", args![0.1, late, ["a tenth later"]]).await?;
    timer.call::<()>("start", ()).await?;
    println!("{}", told.recv().await.unwrap_or_default());
    machine.connection().close().await;
    Ok(())
}
