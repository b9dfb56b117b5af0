//! Whether the peer has said anything yet.

use std::sync::Arc;

use tokio::sync::SetOnce;

/// Whether the peer of a connection has sent its first valid message.
///
/// A program that accepts connections passes a clone to
/// [`ConnectionBuilder::first_message`](crate::ConnectionBuilder::first_message). It can then give
/// up clients that connect and say nothing. Clones share the state.
#[derive(Clone, Debug, Default)]
pub struct FirstMessage(Arc<SetOnce<()>>);

impl FirstMessage {
    /// No message has come yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it has come. It has before the answer to it can reach the peer.
    #[must_use]
    pub fn has_come(&self) -> bool {
        self.0.initialized()
    }

    /// Waits until it has come, for ever if the connection ends before.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn come(&self) {
        self.0.wait().await;
    }

    /// Records that it has come.
    pub(super) fn record(&self) {
        // Once is enough.
        let _ = self.0.set(());
    }
}
