//! A chat room: the server calls its clients, in Rust and Python, back with every message.
//!
//! ```text
//! cargo run --example chat_server -- localhost:18870 &    # or: python3 examples/python/chat_server.py
//! cargo run --example chat_client -- localhost:18870 David    # or: ... examples/python/chat_client.py
//! ```
#![expect(clippy::print_stdout, reason = "it prints the address")]

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use rpyc_server::builtins::ValueError;
use rpyc_server::{RemoteObject, Server, args, service, shutdown_signal};
use tokio::sync::Mutex;

/// The callback of each member, by name.
#[derive(Default)]
struct Room(Mutex<BTreeMap<String, RemoteObject>>);

impl Room {
    /// Sends a message to all members concurrently; one that cannot be reached misses it.
    async fn tell(&self, name: &str, text: &str) {
        let members: Vec<_> = self.0.lock().await.values().cloned().collect();
        let tell = |hear: &RemoteObject| hear.invoke::<()>(args![name, text]).into_future();
        join_all(members.iter().map(tell)).await;
    }
}

/// The membership of one client.
struct Seat {
    room: Arc<Room>,
    name: OnceLock<String>,
}

/// A chat room.
#[service(name = "CHAT")]
impl Seat {
    /// Joins under a name; the room will call `hear(name, text)` with each message.
    async fn join(&self, name: String, hear: RemoteObject) -> Result<(), ValueError> {
        let mut members = self.room.0.lock().await;
        if members.contains_key(&name) || self.name.set(name.clone()).is_err() {
            return Err(ValueError::new(format!("{name} is here already")));
        }
        members.insert(name.clone(), hear);
        drop(members);
        self.room.tell(&name, "has come").await;
        Ok(())
    }

    /// Sends a message to all members.
    async fn say(&self, text: String) -> Result<(), ValueError> {
        let name = self.name.get().ok_or_else(|| ValueError::new("join first"))?;
        self.room.tell(name, &text).await;
        Ok(())
    }

    #[service(on_disconnect)]
    async fn leave(&self) {
        let Some(name) = self.name.get() else { return };
        self.room.0.lock().await.remove(name);
        self.room.tell(name, "has left").await;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "localhost:18870".to_owned());
    let room = Arc::new(Room::default());
    let seat = move |_: &_| Seat { room: room.clone(), name: OnceLock::new() };
    // A member that does not answer delays the others only briefly.
    let builder = Server::per_connection(seat).timeout(Duration::from_secs(5));
    let server = builder.bind(address).listen().await?;
    for address in server.addrs() {
        println!("listening on {address}");
    }
    server.serve(shutdown_signal()).await;
    Ok(())
}
