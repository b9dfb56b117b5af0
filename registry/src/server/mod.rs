//! The registry as a whole: its sockets and its tasks.

mod background;
mod config;
mod listener;
mod pulse;
mod serve;
mod start;

pub use config::Config;
pub use listener::Listener;
pub use serve::Server;
