//! The peer's requests: started in the order in which they came, finished in any.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::FutureExt;
use rpyc_protocol::rpc::{Action, Exception, PeerThread};
use tokio::task::JoinSet;

use super::shared::{PeerRequest, Shared};
use super::{Connection, Handle};
use crate::{Local, Parcel};

tokio::task_local! {
    /// Which connection's request is being served, and for which thread of the peer's.
    static SERVING: (u64, PeerThread);
}

/// The thread of the peer's that waits for what this task serves, on the connection of this number.
pub(super) fn serving_thread(number: u64) -> Option<PeerThread> {
    SERVING.try_with(|(on, thread)| (*on == number).then_some(*thread)).ok().flatten()
}

/// Serves the requests of one connection until it ends.
///
/// A request is begun here, so that its first part runs before that of the next one. If it does not
/// finish at once, a separate task takes it over. A request that came before the peer left is still
/// begun, as a server of Python's does; what then awaits is dropped.
pub(super) async fn serve(shared: Arc<Shared>) {
    let mut handlers = JoinSet::new();
    // Once for all requests: to begin to wait for the end costs more than to go on.
    let mut ended = pin!(shared.has_ended());
    loop {
        while handlers.try_join_next().is_some() {}
        shared.has_room().await;
        let Some(PeerRequest { id, object, action }) = shared.with(|state| state.next_request())
        else {
            tokio::select! {
                // In this order: the last requests and the end may come together.
                biased;
                () = shared.requested.notified() => continue,
                _ = &mut ended => break,
            }
        };
        let Some(handle) = shared.handle.upgrade() else { break };
        let thread = id.thread();
        let number = handle.number;
        let handler = async move {
            let answer = answer(&handle, object, action).await;
            handle.shared.change(|state| state.answer(id, answer));
        };
        let mut handler = match thread {
            Some(thread) => SERVING.scope((number, thread), handler).boxed(),
            None => handler.boxed(),
        };
        let begun = std::future::poll_fn(|cx| Poll::Ready(pin!(&mut handler).poll(cx))).await;
        if begun.is_pending() {
            handlers.spawn(handler);
        }
        tokio::task::consume_budget().await;
    }
    handlers.shutdown().await;
}

async fn answer(
    handle: &Arc<Handle>,
    object: Option<Local>,
    action: Option<Action<Parcel>>,
) -> Result<Parcel, Exception> {
    let object = object.ok_or_else(|| Exception::builtin("KeyError", "the object is gone"))?;
    let Some(action) = action else { return Ok(object.into()) };
    let connection = Connection::from_handle(handle.clone());
    let served = AssertUnwindSafe(object.serve(&connection, action)).catch_unwind().await;
    served.unwrap_or_else(|panic| Err(panicked(&*panic)))
}

/// A panic is a bug of this side. Its message is for this side's log, not for the peer.
fn panicked(panic: &(dyn Any + Send)) -> Exception {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("?"), "a request of a peer panicked");
    Exception::builtin("RuntimeError", "internal error")
}
