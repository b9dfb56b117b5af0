//! Calls a service over TLS. It verifies the server by its certificate, which is in a file here,
//! and shows a client certificate if the server requires one.
//!
//! ```text
//! cargo run --example tls_client -- localhost:18871 server.crt [client.crt client.key]
//! ```
//!
//! `tls_server.rs` shows how to make a certificate and start the server.
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;
use std::fs;

use rpyc_client::{Connection, Tls};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let [address, server, identity @ ..] = &*words else {
        return Err("use: tls_client HOST:PORT server.crt [client.crt client.key]".into());
    };
    // Trusts only this certificate. `Tls::new()` trusts the authorities that the system trusts.
    let mut tls = Tls::pinning(&fs::read(server)?)?;
    if let [certificate, key] = identity {
        tls = tls.with_identity(&fs::read(certificate)?, &fs::read(key)?)?;
    }
    let safe = Connection::builder().tls(tls).connect(address).await?.root().await?;
    println!("in the safe: {}", safe.call::<String>("contents", ()).await?);
    safe.connection().close().await;
    Ok(())
}
