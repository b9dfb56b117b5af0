//! What a server serves.

use rpyc_client::{Connection, Exception, Object};

/// An object with a name, under which it is found: what a server offers first.
///
/// [`#[service]`](macro@crate::service) implements it. A hand-written [`Object`] implements it by
/// hand.
///
/// ```
/// use rpyc_server::{Args, Context, Exception, Object, Parcel, Service, denied};
///
/// /// Answers every question.
/// struct Oracle;
///
/// impl Object for Oracle {
///     async fn call_attr(&self, _: &Context, name: &str, _: Args) -> Result<Parcel, Exception> {
///         if name.starts_with('_') { Err(denied(name)) } else { Ok(42.into()) }
///     }
/// }
///
/// impl Service for Oracle {
///     const NAMES: &'static [&'static str] = &["ORACLE"];
/// }
/// ```
pub trait Service: Object {
    /// Its name, and then its aliases, in upper case. Python's `get_service_name` and
    /// `get_service_aliases` give them, and a server that registers announces them.
    const NAMES: &'static [&'static str];

    /// Called for each connection when it begins; [`Connection::peer`] identifies the client. The
    /// part before its first await is done before anything is served. An exception ends the
    /// connection.
    fn on_connect(
        &self,
        connection: &Connection,
    ) -> impl Future<Output = Result<(), Exception>> + Send {
        let _ = connection;
        std::future::ready(Ok(()))
    }

    /// Called for each connection after it has ended. It is still known whose it was, and there is
    /// nothing to be had from the client any more.
    fn on_disconnect(&self, connection: &Connection) -> impl Future<Output = ()> + Send {
        let _ = connection;
        std::future::ready(())
    }
}
