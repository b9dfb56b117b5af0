//! Offers the service of another server to clients that cannot reach it or speak another version.
//!
//! ```text
//! cargo run --example gateway -- 0.0.0.0:18862 payroll.example:18861
//! ```
//!
//! Clients connect to the first address as if it were the second. So clients of RPyC 5 can use a
//! server of RPyC 6, and the other way round. The server can use a client's service, as its
//! `conn.root`. Classes arrive as objects: they can be called, but `isinstance` does not recognise
//! them.
#![expect(clippy::print_stdout, reason = "it prints the address")]
#![expect(clippy::print_stderr, reason = "it prints failures")]

use std::error::Error;

use rpyc_client::{Connection, Exception, Local};
use rpyc_server::shutdown_signal;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Serves one client. It has its own connection to the server, so that objects end with the client.
async fn serve(near: TcpStream, server: &str) -> Result<(), Box<dyn Error>> {
    near.set_nodelay(true)?;
    let (tell, told) = oneshot::channel::<Connection>();
    let root_of_client = Local::forwarding_later(async {
        let gone = |_| Exception::builtin("ConnectionError", "the client is gone");
        Ok(told.await.map_err(gone)?.root().await?)
    });
    let far = Connection::builder().serving(root_of_client).connect(server).await?;
    let root_of_server = Local::forwarding(far.root().await?);
    let builder = Connection::builder().serving(root_of_server).peer(near.peer_addr()?);
    let (client, driver) = builder.accept(near);
    let _ = tell.send(client.clone());
    let why = driver.await;
    far.close().await;
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
