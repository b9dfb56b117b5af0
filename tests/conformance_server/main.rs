//! Serves CONFORMANCE, which uses every feature of a service, to test clients.
//!
//! ```text
//! cargo run -p rpyc-tests --example conformance_server -- \
//!     --port 18861 [--registry HOST:PORT]... [--compress-above BYTES]
//! ```
//!
//! `tests/python/conformance_server.py` is the same service, served by RPyC. With port 0 the system
//! chooses one; the program prints the address once clients can connect. `--compress-above never`
//! disables compression. The log on standard error names each client that the server disconnects,
//! and the reason.
#![expect(clippy::print_stdout, reason = "it prints the address")]

mod counter;
mod exceptions;
mod number;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rpyc_server::builtins::{MemoryError, OverflowError, StopIteration, TypeError, ValueError};
use rpyc_server::{
    Args, Connection, Context, Dict, Exception, List, Local, Parcel, Peer, Registries,
    RegistryAddr, Server, Value, args, service, shutdown_signal,
};

use counter::Counter;
use number::Number;

// glibc's allocator would keep the memory of a burst instead of returning it to the system.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The service. Each connection has a separate one, which counts the counters that it holds.
#[derive(Default)]
struct Conformance {
    live: Arc<AtomicUsize>,
}

/// Something of everything.
#[service(name = "CONFORMANCE", aliases("CONF"))]
impl Conformance {
    /// The sum of two numbers of any size.
    fn add(
        &self,
        a: Parcel,
        #[service(default = 0.into())] b: Parcel,
    ) -> Result<Parcel, Exception> {
        match (Number::of(&a), Number::of(&b)) {
            (Some(a), Some(b)) => Ok(a.plus(&b)?.into()),
            _ => Err(number::cannot_add("+", a.type_name(), b.type_name()).into()),
        }
    }

    /// What it is given; an object comes back as the same object.
    fn echo(&self, value: Parcel) -> Parcel {
        value
    }

    /// Raises one of Python's own exceptions.
    async fn fail(&self, kind: Parcel, message: Parcel) -> Result<(), Exception> {
        let kind = match kind {
            Parcel::Value(Value::Str(kind)) => kind,
            other => {
                let found = other.type_name();
                let message = format!("attribute name must be string, not '{found}'");
                return Err(TypeError::new(message).into());
            }
        };
        let argument = match message {
            Parcel::Value(value) => value,
            // An object that is not a value is replaced by its `repr`.
            Parcel::Remote(object) => object.repr().await?.into(),
            other => format!("<{} object>", other.type_name()).into(),
        };
        Err(exceptions::raised(kind, argument))
    }

    /// Raises StopIteration.
    #[expect(clippy::doc_markdown, reason = "the words of the same service in Python")]
    fn stop(&self) -> Result<(), StopIteration> {
        Err(StopIteration::new("stop"))
    }

    /// How many counters are held for this connection.
    fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// A counter.
    fn counter(&self, #[service(default = 0.into())] start: Parcel) -> Result<Local, Exception> {
        let start = Number::wanted(&start)?;
        Ok(Local::new(Counter::new(start, self.live.clone())))
    }

    /// Yields the numbers below n.
    fn numbers(&self, n: Parcel) -> Result<Local, Exception> {
        Ok(Local::iterator(0..Number::wanted(&n)?.end()?))
    }

    /// The result of the client's function.
    async fn apply(&self, context: &Context, f: Parcel, args: Args) -> Result<Parcel, Exception> {
        context.call(&f, args).await
    }

    /// Calls the client's function with "late" after some seconds, without waiting for that.
    fn later(
        &self,
        connection: &Connection,
        context: &Context,
        f: Parcel,
        seconds: f64,
    ) -> Result<(), Exception> {
        // A time in the past means now; an infinite one means never.
        let pause = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
        let (connection, context) = (connection.clone(), context.clone());
        tokio::spawn(async move {
            let call = async {
                tokio::time::sleep(pause).await;
                // No caller is left to receive an error.
                let _ = context.call(&f, args!["late"]).await;
            };
            tokio::select! { () = call => {}, _ = connection.closed() => {} }
        });
        Ok(())
    }

    /// A list with a dict in it, by reference.
    fn table(&self) -> Local {
        let dict = Local::new(Dict::from_iter([("three", 3)]));
        Local::new(List::from_iter([Parcel::from(1), "two".into(), dict.into()]))
    }

    /// So many bytes.
    fn payload(&self, n: i64) -> Result<Vec<u8>, Exception> {
        match usize::try_from(n) {
            Ok(n) if n <= 60 << 20 => Ok(vec![0xa5; n]),
            Ok(_) => Err(MemoryError::new("more than a message can hold").into()),
            Err(_negative) => Ok(Vec::new()),
        }
    }

    /// Waits.
    async fn sleep(&self, seconds: f64) -> Result<(), Exception> {
        tokio::time::sleep(duration(seconds)?).await;
        Ok(())
    }

    /// The address of the client.
    fn whoami(&self, peer: &Peer) -> Option<String> {
        peer.ip().map(|ip| ip.to_string())
    }

    /// Not for clients.
    #[service(skip)]
    #[expect(dead_code, reason = "clients cannot call it, which is the point")]
    fn hidden(&self) {}

    fn _private(&self) {}
}

/// The duration, or Python's error for an invalid one.
fn duration(seconds: f64) -> Result<Duration, Exception> {
    /// Python counts nanoseconds in 64 bits.
    const MOST: f64 = 9_223_372_036.0;
    if seconds.is_nan() {
        return Err(ValueError::new("Invalid value NaN (not a number)").into());
    }
    if seconds.abs() > MOST {
        return Err(OverflowError::new("timestamp too large to convert to C _PyTime_t").into());
    }
    Duration::try_from_secs_f64(seconds)
        .map_err(|_negative| ValueError::new("sleep length must be non-negative").into())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let (mut port, mut registries) = (0_u16, Vec::<RegistryAddr>::new());
    let mut compress_above = Some(3000);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
            None => (word, words.next()),
        };
        let value = value.ok_or_else(|| format!("{option} needs a value"))?;
        match &*option {
            "--port" => port = value.parse()?,
            "--compress-above" if value == "never" => compress_above = None,
            "--compress-above" => compress_above = Some(value.parse()?),
            "--registry" => registries.push(value.parse()?),
            _ => return Err(format!("unknown option {option}").into()),
        }
    }
    let builder = |host| {
        let builder = Server::per_connection(|_| Conformance::default());
        let builder = builder.bind(format_args!("{host}:{port}")).compress_above(compress_above);
        match registries.is_empty() {
            true => builder,
            false => builder.register_with(Registries::all_of(registries.clone())),
        }
    };
    // Listens on both versions of IP where available.
    let server = match builder("[::]").listen().await {
        Ok(server) => server,
        Err(_) => builder("0.0.0.0").listen().await?,
    };
    for addr in server.addrs() {
        println!("listening on {addr}");
    }
    server.serve(shutdown_signal()).await;
    Ok(())
}
