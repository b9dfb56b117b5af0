//! Offers the service of another server on, to clients that cannot reach it or speak another version.
//!
//! ```text
//! cargo run --example gateway -- 0.0.0.0:18862 payroll.example:18861
//! ```
//!
//! Clients connect to the first address as if it were the second. Those of RPyC 5 so get on with a server
//! of RPyC 6, and the other way round.
#![expect(clippy::print_stdout, reason = "tells the address")]
#![expect(clippy::print_stderr, reason = "tells what fails")]

use std::error::Error;

use rpyc_client::{Connection, Local, connect};
use rpyc_server::shutdown_signal;
use tokio::net::{TcpListener, TcpStream};

/// Serves one client. It has a connection of its own to the server, where nothing outlives it.
async fn serve(near: TcpStream, server: &str) -> Result<(), Box<dyn Error>> {
    near.set_nodelay(true)?;
    let root = connect(server).await?.root().await?;
    let builder = Connection::builder().serving(Local::forwarding(root)).peer(near.peer_addr()?);
    let (client, driver) = builder.accept(near);
    let why = driver.await;
    println!("{} has left: {why}", client.peer());
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let [local, server] =
        <[String; 2]>::try_from(words).map_err(|_words| "use: gateway LOCAL:PORT SERVER:PORT")?;
    let listener = TcpListener::bind(local).await?;
    println!("listening on {}", listener.local_addr()?);
    let mut shutdown = std::pin::pin!(shutdown_signal());
    loop {
        let (near, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            () = &mut shutdown => return Ok(()),
        };
        let server = server.clone();
        tokio::spawn(async move {
            if let Err(error) = serve(near, &server).await {
                eprintln!("{error}");
            }
        });
    }
}
