//! Makes a port behind a firewall available locally: a classic server there opens the connections.
//!
//! ```text
//! rpyc_classic &    # on a machine that reaches intranet:80
//! cargo run --example forward -- localhost:18812 intranet:80 127.0.0.1:8080 &
//! curl http://127.0.0.1:8080/
//! ```
#![expect(clippy::print_stdout, reason = "it prints the address")]
#![expect(clippy::print_stderr, reason = "it prints failures")]

use std::error::Error;

use rpyc_client::classic;
use rpyc_server::shutdown_signal;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// Forwards one connection. It has its own classic connection, because a server does only one thing
/// at a time for each.
async fn carry(mut near: TcpStream, server: &str, target: &str) -> Result<(), Box<dyn Error>> {
    let (host, port) = target.rsplit_once(':').ok_or("the target is HOST:PORT")?;
    let machine = classic::connect(server).await?;
    let mut far = machine.connect_tcp(host, port.parse()?).await?;
    copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let [server, target, local] = <[String; 3]>::try_from(words)
        .map_err(|_words| "use: forward SERVER:PORT TARGET:PORT LOCAL:PORT")?;
    let listener = TcpListener::bind(local).await?;
    println!("listening on {}", listener.local_addr()?);
    let mut shutdown = std::pin::pin!(shutdown_signal());
    loop {
        let (near, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            () = &mut shutdown => return Ok(()),
        };
        let (server, target) = (server.clone(), target.clone());
        tokio::spawn(async move {
            if let Err(error) = carry(near, &server, &target).await {
                eprintln!("{error}");
            }
        });
    }
}
