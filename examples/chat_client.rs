//! Sends typed lines to a chat room, and prints the messages of all its members.
//!
//! ```text
//! cargo run --example chat_client -- localhost:18870 David
//! ```
//!
//! `chat_server.rs` shows how to open a room.
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;

use rpyc_client::{Local, args, connect};
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let address = words.next().unwrap_or_else(|| "localhost:18870".to_owned());
    let name = words.next().unwrap_or_else(|| "David".to_owned());

    let hear = Local::function(|args| async move {
        let (name, text): (String, String) = args.parse()?;
        println!("{name}: {text}");
        Ok(())
    });
    let chat = connect(address).await?.root().await?;
    chat.call::<()>("join", args![name, hear]).await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        chat.call::<()>("say", args![line]).await?;
    }
    chat.connection().close().await;
    Ok(())
}
