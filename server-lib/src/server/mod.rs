//! Serving clients.

mod admission;
mod bound;
mod builder;
mod connection;
mod error;
mod listener;
#[cfg(unix)]
mod socket_file;
mod stdio;
mod throttle;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::join_all;
use rpyc_client::{Local, Peer, Port, Registries, ServiceName};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

pub use bound::BoundAddr;
pub use builder::ServerBuilder;
pub use error::ListenError;

use admission::{Admission, Refused, Source};
use builder::{Announce, RootSource, Settings};
use connection::Client;
use listener::{Listener, Stream};
use throttle::{Throttle, Topic};

use crate::announcer::Advert;
use crate::{Announcer, AnnouncerHandle, Service};

/// How long to wait before the next client is accepted after the system failed to. It doubles with
/// each failure, as a shortage (files, memory) ends slowly.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A server that listens, and that serves when [`serve`](Self::serve) runs.
///
/// ```no_run
/// use rpyc_server::{Server, service};
///
/// struct Payroll;
///
/// #[service]
/// impl Payroll {
///     /// Monthly salary in euros.
///     fn get_salary(&self, last: &str, first: &str) -> Option<f64> {
///         (last == "Mertz" && first == "David").then_some(4200.0)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder(Payroll).bind("0.0.0.0:0").register().listen().await?;
/// for addr in server.addrs() {
///     println!("listening on {addr}");
/// }
/// server.serve(rpyc_server::shutdown_signal()).await;
/// # Ok(())
/// # }
/// ```
///
/// Clients of all versions of RPyC since 4.1 may come, each with its own. They are served at the
/// same time, and each may have many requests under way. Only what a [`Service`] exposes can be
/// reached, whatever operation is tried; nothing is ever imported or unpickled, and no traceback is
/// sent.
#[derive(Debug)]
#[must_use = "a server does nothing unless it serves"]
pub struct Server<S> {
    source: RootSource<S>,
    listeners: Vec<Listener>,
    announcers: Vec<Announcer>,
    settings: Settings,
}

/// How a server ended. Nothing that it started is left, either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Whether every request that was under way was answered within the grace.
    pub is_drained: bool,
    /// Whether every registry that knew of the server knows now that it is gone.
    pub is_withdrawn: bool,
}

impl<S: Service> Server<S> {
    /// How many clients may be connected at a time by default.
    pub const DEFAULT_MAX_CONNECTIONS: usize = 1024;

    /// How long a client may take to send its first valid request, by default.
    pub const DEFAULT_FIRST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);

    /// How long new clients are still accepted after the shutdown began, by default.
    pub const DEFAULT_NOTICE: Duration = Duration::from_millis(500);

    /// How long requests may go on after the shutdown began, by default.
    pub const DEFAULT_GRACE: Duration = Duration::from_secs(5);

    /// Serves `service` to all clients, with settings to be chosen.
    pub fn builder(service: S) -> ServerBuilder<S> {
        ServerBuilder::new(RootSource::Shared(Local::new(service)))
    }

    /// Makes a service for each client, with settings to be chosen.
    ///
    /// ```no_run
    /// use rpyc_server::{Peer, Server, service};
    ///
    /// struct Session {
    ///     peer: Peer,
    /// }
    ///
    /// #[service(name = "SESSION")]
    /// impl Session {
    ///     fn whoami(&self) -> String {
    ///         self.peer.to_string()
    ///     }
    /// }
    ///
    /// # async fn example() -> Result<(), rpyc_server::ListenError> {
    /// let server = Server::per_connection(|peer| Session { peer: peer.clone() });
    /// server.bind("0.0.0.0:18861").serve(rpyc_server::shutdown_signal()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn per_connection(make: impl Fn(&Peer) -> S + Send + Sync + 'static) -> ServerBuilder<S> {
        ServerBuilder::new(RootSource::Each(Arc::new(make)))
    }

    fn new(
        source: RootSource<S>,
        listeners: Vec<Listener>,
        announce: Option<Announce>,
        advert: Advert,
        settings: Settings,
    ) -> Result<Self, ListenError> {
        let registries = match announce {
            Some(Announce::FromEnvironment) => Some(Registries::from_env()?),
            Some(Announce::These(registries)) => Some(registries),
            None => None,
        };
        let mut announcers = Vec::new();
        if let Some(registries) = registries {
            let names: Vec<_> =
                S::NAMES.iter().map(|name| ServiceName::new(name)).collect::<Result<_, _>>()?;
            for addr in listeners.iter().filter_map(|listener| listener.addr().tcp()) {
                // A bound port is never 0, the only one that cannot be announced.
                let Ok(port) = Port::tcp(addr.port()) else { continue };
                let announcer = Announcer::builder(names.clone(), port, registries.clone());
                announcers.push(announcer.bind(addr).advert(advert.clone()).build());
            }
        }
        Ok(Self { source, listeners, announcers, settings })
    }

    /// The first TCP address it listens on, with the port that it was given; none if it listens on
    /// unix sockets only.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addrs().find_map(BoundAddr::tcp)
    }

    /// All addresses that it listens on, in the order of the settings.
    pub fn addrs(&self) -> impl Iterator<Item = &BoundAddr> {
        self.listeners.iter().map(Listener::addr)
    }

    /// Serves until `shutdown` completes: then the server is drained at the registries, and after a
    /// moment's [notice](ServerBuilder::notice) no client is accepted any more, registrations end,
    /// idle clients are disconnected, requests under way are finished within the grace, and the
    /// rest is cut off.
    ///
    /// # Cancel safety
    /// Dropping the future cuts off all clients; registries are not notified.
    pub async fn serve(self, shutdown: impl Future) -> Ended {
        let Self { source, listeners, announcers, settings } = self;
        // Both what serves and what announces end at the same time.
        let stop = watch::Sender::new(false);
        let stopped = || {
            let mut stop = stop.subscribe();
            async move {
                let _ = stop.wait_for(|stop| *stop).await;
            }
        };
        let handles: Vec<_> = announcers.iter().map(Announcer::handle).collect();
        let announcing = join_all(announcers.into_iter().map(|announcer| {
            let stopped = stopped();
            announcer.run(stopped)
        }));
        let serving = async {
            let mut peers = JoinSet::new();
            let ending = async {
                shutdown.await;
                give_notice(&handles, settings.notice).await;
            };
            tokio::select! {
                biased;
                () = ending => {}
                never = accept(&listeners, &source, &settings, &mut peers, &stop) => match never {},
            }
            drop(listeners);
            stop.send_replace(true);
            drain(peers, settings.grace).await
        };
        let (withdrawn, is_drained) = tokio::join!(announcing, serving);
        Ended { is_drained, is_withdrawn: withdrawn.into_iter().all(|is_tidy| is_tidy) }
    }
}

/// How long registries may take to acknowledge the draining.
const DRAIN: Duration = Duration::from_secs(1);

/// Drains the server at the registries, and waits for clients that looked it up a moment before.
async fn give_notice(handles: &[AnnouncerHandle], notice: Duration) {
    let is_known = handles.iter().any(AnnouncerHandle::is_acknowledged);
    if notice.is_zero() || !is_known {
        return;
    }
    let draining = join_all(handles.iter().map(AnnouncerHandle::drain));
    if timeout(DRAIN, draining).await.is_err() {
        tracing::warn!("not every registry has acknowledged the draining");
    }
    sleep(notice).await;
}

/// Serves one client over a stream that is there already.
async fn serve_stream<S: Service>(
    source: RootSource<S>,
    settings: Settings,
    stream: Box<dyn Stream>,
    shutdown: impl Future,
) -> Ended {
    let stop = watch::Sender::new(false);
    let peer = Peer::default();
    let mut peers = JoinSet::new();
    let grace = settings.grace;
    let throttle = Arc::new(Throttle::new(Instant::now().into_std()));
    let client = Client { stream, peer, permit: None, throttle };
    peers.spawn(connection::serve(source, client, settings, stop.subscribe()));
    tokio::select! {
        _ = shutdown => {}
        _ = peers.join_next() => {}
    }
    stop.send_replace(true);
    Ended { is_drained: drain(peers, grace).await, is_withdrawn: true }
}

/// Lets clients in, for ever.
async fn accept<S: Service>(
    listeners: &[Listener],
    source: &RootSource<S>,
    settings: &Settings,
    peers: &mut JoinSet<()>,
    stop: &watch::Sender<bool>,
) -> Infallible {
    let admission = Admission::new(settings.shares());
    let now = Instant::now();
    let throttle = Arc::new(Throttle::new(now.into_std()));
    let mut reports = interval_at(now + throttle::PERIOD, throttle::PERIOD);
    reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = tokio::select! {
            accepted = next_client(listeners) => accepted,
            Some(_) = peers.join_next() => continue,
            _ = reports.tick() => {
                throttle.report(Instant::now().into_std());
                continue;
            }
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = FIRST_PAUSE;
                let permit = match admission.admit(Source::of(&peer)) {
                    Ok(permit) => Some(permit),
                    Err(refused) => {
                        log_refusal(&throttle, &peer, refused);
                        continue;
                    }
                };
                let client = Client { stream, peer, permit, throttle: throttle.clone() };
                let (source, settings) = (source.clone(), settings.clone());
                peers.spawn(connection::serve(source, client, settings, stop.subscribe()));
            }
            Err(error) if is_of_one_client(&error) => {
                tracing::debug!(%error, "a client disconnected before it was accepted");
            }
            Err(error) => {
                if throttle.allows(Topic::CannotAccept) {
                    tracing::warn!(%error, "cannot accept clients; trying again in {pause:?}");
                }
                // A shortage (of files, most likely) that a client less may end.
                admission.make_room();
                sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        }
    }
}

fn log_refusal(throttle: &Throttle, peer: &Peer, Refused { topic, limit }: Refused) {
    if !throttle.allows(topic) {
        return;
    }
    match topic {
        Topic::TooManyOfAddress => {
            tracing::warn!(%peer, limit, "too many connections of one address; hung up");
        }
        Topic::Reserved => {
            tracing::warn!(%peer, limit, "only reserved connections are left; hung up");
        }
        _ => tracing::warn!(%peer, limit, "too many connections; hung up"),
    }
}

async fn next_client(listeners: &[Listener]) -> io::Result<(Box<dyn Stream>, Peer)> {
    std::future::poll_fn(|cx| {
        for listener in listeners {
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}

/// Whether it says nothing about the next client.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Waits for the clients to leave, and then cuts off those that have not; whether all had.
async fn drain(mut peers: JoinSet<()>, grace: Duration) -> bool {
    let is_drained = {
        let mut left = pin!(async { while peers.join_next().await.is_some() {} });
        timeout(grace, &mut left).await.is_ok()
    };
    peers.shutdown().await;
    is_drained
}
