//! Serves the program that started it, over its standard input and output.
//!
//! ```text
//! cargo build --example stdio_server
//! python3 -c "
//! import rpyc
//! conn = rpyc.utils.factory.connect_subproc(['target/debug/examples/stdio_server'])
//! print(conn.root.shout('hello'))"
//! ```

use rpyc_server::{Server, service, shutdown_signal};

struct Shouter;

#[service]
impl Shouter {
    /// The text in capitals.
    fn shout(&self, text: &str) -> String {
        text.to_uppercase()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    Server::builder(Shouter).serve_stdio(shutdown_signal()).await;
}
