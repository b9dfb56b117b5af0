//! Serves a safe over TLS; with an authority for clients, only clients with its certificates.
//!
//! ```text
//! openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=safe -keyout server.key -out server.crt
//! cargo run --example tls_server -- localhost:18871 server.crt server.key [clients.crt]
//! cargo run --example tls_client -- localhost:18871 server.crt    # or: python3 examples/python/tls_client.py
//! ```
//!
//! `clients.crt` contains authorities for clients, or the clients' own certificates if these are
//! self-signed, as by the first command. The log shows why a client is rejected.
#![expect(clippy::print_stdout, reason = "it prints the address")]

use std::error::Error;
use std::fs;

use rpyc_server::{Server, ServerTls, service, shutdown_signal};

struct Safe;

#[service]
impl Safe {
    /// The content of the safe.
    fn contents(&self) -> &str {
        "twelve gold coins"
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let words: Vec<_> = std::env::args().skip(1).collect();
    let [address, certificate, key, authority @ ..] = &*words else {
        return Err("use: tls_server HOST:PORT server.crt server.key [clients.crt]".into());
    };
    let mut tls = ServerTls::new(&fs::read(certificate)?, &fs::read(key)?)?;
    if let [authority] = authority {
        tls = tls.requiring_clients_of(&fs::read(authority)?)?;
    }
    let server = Server::builder(Safe).bind(address).tls(tls).listen().await?;
    for address in server.addrs() {
        println!("listening on {address}");
    }
    server.serve(shutdown_signal()).await;
    Ok(())
}
