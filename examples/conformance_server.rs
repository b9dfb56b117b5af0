//! Serves CONFORMANCE: something of everything that a service can do, to try clients against.
//!
//! ```text
//! cargo run --example conformance_server -- --port 18861 [--registry HOST:PORT]...
//! ```
//!
//! `examples/python/conformance_server.py` is the same service, served by RPyC. Port 0 takes a free
//! one; the address is printed when clients can connect. Who is hung up on, and why, is told on standard
//! error.
#![expect(clippy::print_stdout, reason = "tells the address")]

use std::error::Error;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use num_bigint::BigInt;
use rpyc_server::builtins::{
    IndexError, MemoryError, OverflowError, StopIteration, TypeError, ValueError,
};
use rpyc_server::{
    Args, Connection, Context, Dict, Exception, List, Local, Parcel, Peer, Registries,
    RegistryAddr, RemoteObject, Server, Value, args, object, service,
};

// The allocator of glibc keeps what a burst has taken, for the next one.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// One for each connection, to count what the connection holds.
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
        match (Number::of(a)?, Number::of(b)?) {
            (Number::Int(a), Number::Int(b)) => Ok(Value::Int((a + b).into()).into()),
            (a, b) => Ok((a.to_f64()? + b.to_f64()?).into()),
        }
    }

    /// What it is given; an object comes back as the same object.
    fn echo(&self, value: Parcel) -> Parcel {
        value
    }

    /// Raises one of Python's own exceptions.
    fn fail(&self, kind: String, message: Parcel) -> Result<(), Exception> {
        if !EXCEPTIONS.contains(&&*kind) {
            return Err(ValueError::new(format!("no exception of Python's: {kind}")).into());
        }
        Err(Exception::builtin(kind, message.into_value().unwrap_or(Value::None)))
    }

    /// Raises `StopIteration`.
    fn stop(&self) -> Result<(), StopIteration> {
        Err(StopIteration::new("stop"))
    }

    /// How many counters are held for this connection.
    fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// A counter.
    fn counter(&self, #[service(default)] start: i64) -> Local {
        self.live.fetch_add(1, Ordering::Relaxed);
        Local::new(Counter { value: start.into(), live: self.live.clone() })
    }

    /// Yields the numbers below `n`.
    fn numbers(&self, n: i64) -> Local {
        Local::iterator(0..n)
    }

    /// The result of the client's function.
    async fn apply(&self, context: &Context, f: Parcel, args: Args) -> Result<Parcel, Exception> {
        context.call(&f, args).await
    }

    /// Calls the client's function with "late" after some seconds, without waiting for that.
    fn later(
        &self,
        connection: &Connection,
        f: RemoteObject,
        seconds: f64,
    ) -> Result<(), Exception> {
        let (pause, connection) = (duration(seconds)?, connection.clone());
        tokio::spawn(async move {
            let call = async {
                tokio::time::sleep(pause).await;
                // Nobody is left to be told of a failure.
                let _ = f.invoke::<Parcel>(args!["late"]).await;
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
            Err(_) => Err(ValueError::new("negative count").into()),
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
    #[expect(dead_code, reason = "nobody can call it, which is the point")]
    fn hidden(&self) {}

    fn _private(&self) {}
}

/// A number that counts.
struct Counter {
    value: AtomicI64,
    live: Arc<AtomicUsize>,
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counter {
    fn add(&self, by: i64) -> Result<i64, OverflowError> {
        let add = |value: i64| value.checked_add(by);
        match self.value.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            Ok(before) => Ok(before + by),
            Err(_) => Err(OverflowError::new("a counter has 64 bits")),
        }
    }
}

/// A number that counts.
#[object(class = "conformance.Counter")]
impl Counter {
    /// Adds to the value and gives the new one.
    fn inc(&self, #[service(default = 1)] by: i64) -> Result<i64, OverflowError> {
        self.add(by)
    }

    #[service(get)]
    fn value(&self) -> i64 {
        self.value.load(Ordering::Relaxed)
    }

    #[service(set)]
    fn set_value(&self, value: i64) {
        self.value.store(value, Ordering::Relaxed);
    }

    fn __len__(&self) -> i64 {
        self.value()
    }

    fn __getitem__(&self, index: i64) -> Result<i64, IndexError> {
        let is_there = (0..self.value()).contains(&index);
        is_there.then_some(index).ok_or_else(|| IndexError::new("counter index out of range"))
    }

    fn __iter__(&self) -> Local {
        Local::iterator(0..self.value())
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.value() == other.value()
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.value().hash(&mut hasher);
        hasher.finish()
    }

    fn __str__(&self) -> String {
        format!("counter at {}", self.value())
    }

    fn __repr__(&self) -> String {
        format!("Counter({})", self.value())
    }

    fn __enter__(&self, context: &Context) -> Result<Local, OverflowError> {
        self.add(100)?;
        Ok(context.this().clone())
    }

    fn __exit__(&self) -> Result<bool, OverflowError> {
        self.add(-100)?;
        Ok(false)
    }
}

enum Number {
    Int(BigInt),
    Float(f64),
}

impl Number {
    fn of(parcel: Parcel) -> Result<Self, TypeError> {
        match parcel {
            Parcel::Value(Value::Int(int)) => Ok(Self::Int(int.into())),
            Parcel::Value(Value::Bool(value)) => Ok(Self::Int(i64::from(value).into())),
            Parcel::Value(Value::Float(value)) => Ok(Self::Float(value)),
            _ => Err(TypeError::new("unsupported operand type(s) for +: numbers only")),
        }
    }

    fn to_f64(&self) -> Result<f64, OverflowError> {
        let number = match self {
            Self::Float(number) => return Ok(*number),
            Self::Int(int) => int.to_string().parse().unwrap_or(f64::INFINITY),
        };
        if number.is_finite() {
            Ok(number)
        } else {
            Err(OverflowError::new("int too large to convert to float"))
        }
    }
}

fn duration(seconds: f64) -> Result<Duration, ValueError> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_out_of_range| ValueError::new("sleep length must be non-negative"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let (mut port, mut registries) = (0_u16, Vec::<RegistryAddr>::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
            None => (word, words.next()),
        };
        let value = value.ok_or_else(|| format!("{option} needs a value"))?;
        match &*option {
            "--port" => port = value.parse()?,
            "--registry" => registries.push(value.parse()?),
            _ => return Err(format!("unknown option {option}").into()),
        }
    }
    let builder = |host| {
        let builder = Server::per_connection(|_| Conformance::default());
        let builder = builder.bind(format_args!("{host}:{port}"));
        match registries.is_empty() {
            true => builder,
            false => builder.register_with(Registries::all_of(registries.clone())),
        }
    };
    // Both versions of IP where there are both.
    let server = match builder("[::]").listen().await {
        Ok(server) => server,
        Err(_) => builder("0.0.0.0").listen().await?,
    };
    for addr in server.addrs() {
        println!("listening on {addr}");
    }
    server.serve(tokio::signal::ctrl_c()).await;
    Ok(())
}

/// Those of Python's own exceptions that take one message.
const EXCEPTIONS: &[&str] = &[
    "ArithmeticError",
    "AssertionError",
    "AttributeError",
    "BaseException",
    "BlockingIOError",
    "BrokenPipeError",
    "BufferError",
    "BytesWarning",
    "ChildProcessError",
    "ConnectionAbortedError",
    "ConnectionError",
    "ConnectionRefusedError",
    "ConnectionResetError",
    "DeprecationWarning",
    "EOFError",
    "EnvironmentError",
    "Exception",
    "FileExistsError",
    "FileNotFoundError",
    "FloatingPointError",
    "FutureWarning",
    "GeneratorExit",
    "IOError",
    "ImportError",
    "ImportWarning",
    "IndentationError",
    "IndexError",
    "InterruptedError",
    "IsADirectoryError",
    "KeyError",
    "KeyboardInterrupt",
    "LookupError",
    "MemoryError",
    "ModuleNotFoundError",
    "NameError",
    "NotADirectoryError",
    "NotImplementedError",
    "OSError",
    "OverflowError",
    "PendingDeprecationWarning",
    "PermissionError",
    "ProcessLookupError",
    "RecursionError",
    "ReferenceError",
    "ResourceWarning",
    "RuntimeError",
    "RuntimeWarning",
    "StopAsyncIteration",
    "StopIteration",
    "SyntaxError",
    "SyntaxWarning",
    "SystemError",
    "SystemExit",
    "TabError",
    "TimeoutError",
    "TypeError",
    "UnboundLocalError",
    "UnicodeError",
    "UnicodeWarning",
    "UserWarning",
    "ValueError",
    "Warning",
    "ZeroDivisionError",
];
