//! The services of RPyC's own tests. `tests/python/upstream_service.py` has them in Python.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpyc_client::{Connection, Local, Parcel, RemoteObject};
use rpyc_server::builtins::{AssertionError, ZeroDivisionError};
use rpyc_server::{Context, Exception, List, args, object, service};

/// The state that outlives connections.
#[derive(Debug, Default)]
pub(super) struct Record {
    connects: AtomicI64,
    disconnects: AtomicI64,
    notes: Mutex<Vec<String>>,
}

/// The service; each connection has a separate one.
pub(super) struct Upstream {
    record: Arc<Record>,
    /// The names of the objects that the client has released.
    released: Arc<Mutex<Vec<String>>>,
    context: Arc<Mutex<Vec<&'static str>>>,
}

impl Upstream {
    pub(super) fn new(record: Arc<Record>) -> Self {
        Self { record, released: Arc::default(), context: Arc::default() }
    }
}

fn texts(texts: &Mutex<Vec<impl AsRef<str>>>) -> Vec<String> {
    texts.lock().unwrap().iter().map(|text| text.as_ref().to_owned()).collect()
}

#[service(name = "UPSTREAM")]
impl Upstream {
    fn on_connect(&self) {
        self.record.connects.fetch_add(1, Ordering::SeqCst);
    }

    fn on_disconnect(&self) {
        self.record.disconnects.fetch_add(1, Ordering::SeqCst);
    }

    fn connects(&self) -> i64 {
        self.record.connects.load(Ordering::SeqCst)
    }

    fn disconnects(&self) -> i64 {
        self.record.disconnects.load(Ordering::SeqCst)
    }

    /// Writes something down that every client can read.
    fn note(&self, text: String) {
        self.record.notes.lock().unwrap().push(text);
    }

    fn notes(&self) -> Vec<String> {
        texts(&self.record.notes)
    }

    fn distance(&self, p1: (f64, f64), p2: (f64, f64)) -> f64 {
        (p2.0 - p1.0).hypot(p2.1 - p1.1)
    }

    fn getlist(&self) -> Local {
        Local::new(List::from_iter([1, 2, 3]))
    }

    async fn foo(&self, x: i64) -> i64 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        x * 17
    }

    #[service(name = "Invoker")]
    fn invoker(&self, connection: &Connection, callback: RemoteObject, interval: f64) -> Local {
        let active = Arc::new(AtomicBool::new(true));
        let (watched, connection) = (active.clone(), connection.clone());
        tokio::spawn(async move {
            let work = async {
                while watched.load(Ordering::SeqCst) {
                    let _ = callback.invoke::<Parcel>(args![1.5]).await;
                    tokio::time::sleep(Duration::from_secs_f64(interval)).await;
                }
            };
            tokio::select! { () = work => {}, _ = connection.closed() => {} }
        });
        Local::new(Invoker { active })
    }

    fn context(&self, y: i64) -> Local {
        Local::new(Within { value: 17 + y, seen: self.context.clone() })
    }

    /// What contexts have seen so far.
    fn seen(&self) -> Vec<String> {
        texts(&self.context)
    }

    fn create_dataclass(&self) -> Local {
        Local::new(StdTypes)
    }

    fn remote_assert(&self, val: bool) -> Result<(), AssertionError> {
        if val { Ok(()) } else { Err(AssertionError::new("it is not so")) }
    }

    fn get_one(&self) -> Local {
        Local::new(Restricted)
    }

    fn properties(&self) -> Local {
        Local::new(Properties(AtomicI64::new(0)))
    }

    fn dummy(&self, name: String) -> Local {
        Local::new(Dummy { name, released: self.released.clone() })
    }

    fn deleted_objects(&self) -> Vec<String> {
        texts(&self.released)
    }

    fn hashed(&self) -> Local {
        Local::new(Hashed)
    }

    fn unhashable(&self) -> Local {
        Local::new(Unhashable)
    }

    /// The sum of what is in lists of the client's, which are fetched whole.
    fn sum_rows(&self, rows: Vec<Vec<f64>>) -> f64 {
        rows.iter().flatten().sum()
    }

    fn fee(&self, arg: RemoteObject) -> RemoteObject {
        arg
    }

    async fn fee_str(&self, arg: RemoteObject) -> Result<String, Exception> {
        Ok(arg.str().await?)
    }

    async fn foe_update(&self, arg: RemoteObject, more: String) -> Result<RemoteObject, Exception> {
        let text: String = arg.attr("msg").await?;
        arg.set_attr("msg", format!("{text} foe{more}")).await?;
        Ok(arg)
    }

    /// Has a server further on give back an object of the client's.
    async fn fee_beyond(&self, port: u16, arg: RemoteObject) -> Result<RemoteObject, Exception> {
        Ok(beyond(port).await?.call("fee", args![arg]).await?)
    }

    async fn fee_str_beyond(&self, port: u16, arg: RemoteObject) -> Result<String, Exception> {
        Ok(beyond(port).await?.call("fee_str", args![arg]).await?)
    }

    /// Changes an object of the client's and has a server further on change it as well.
    async fn fie_update(&self, port: u16, arg: RemoteObject) -> Result<RemoteObject, Exception> {
        let text: String = arg.attr("msg").await?;
        arg.set_attr("msg", format!("{text} fie")).await?;
        Ok(beyond(port).await?.call("foe_update", args![arg, " foo bar"]).await?)
    }

    /// The root of a server further on.
    async fn chained(&self, port: u16) -> Result<RemoteObject, Exception> {
        beyond(port).await
    }
}

async fn beyond(port: u16) -> Result<RemoteObject, Exception> {
    let address = format!("127.0.0.1:{port}");
    let refused = |error: String| Exception::builtin("ConnectionError", error);
    let connection =
        rpyc_client::connect(address).await.map_err(|error| refused(error.to_string()))?;
    Ok(connection.root().await?)
}

/// An object that a client passes to servers, which modify it.
pub(super) struct Fee(Mutex<String>);

impl Default for Fee {
    fn default() -> Self {
        Self(Mutex::new("Fee".to_owned()))
    }
}

#[object]
impl Fee {
    #[service(get)]
    pub(super) fn msg(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    #[service(set)]
    fn set_msg(&self, text: String) {
        *self.0.lock().unwrap() = text;
    }

    fn __str__(&self) -> String {
        self.msg()
    }
}

struct Invoker {
    active: Arc<AtomicBool>,
}

#[object]
impl Invoker {
    fn stop(&self) {
        self.active.store(false, Ordering::SeqCst);
    }
}

struct Within {
    value: i64,
    seen: Arc<Mutex<Vec<&'static str>>>,
}

#[object]
impl Within {
    fn __enter__(&self) -> i64 {
        self.seen.lock().unwrap().push("enter");
        self.value
    }

    fn __exit__(&self, exception: Parcel) -> bool {
        let mut seen = self.seen.lock().unwrap();
        if !exception.is_none() {
            seen.push("exception");
        }
        seen.push("exit");
        false
    }
}

struct StdTypes;

#[object]
impl StdTypes {
    #[service(get, name = "intObj")]
    fn int(&self) -> i64 {
        31
    }

    #[service(get, name = "strObj")]
    fn text(&self) -> &'static str {
        "stdtypes string"
    }

    #[service(get, name = "floatObj")]
    fn float(&self) -> f64 {
        3.25
    }

    #[service(get, name = "bytesObj")]
    fn bytes(&self) -> Vec<u8> {
        b"stdtypes bytes".to_vec()
    }
}

/// Exposes the attributes that RPyC's test selects, private names included.
struct Restricted;

#[object]
impl Restricted {
    fn foo(&self) -> &'static str {
        "foo"
    }

    fn bar(&self) -> &'static str {
        "bar"
    }

    #[service(name = "_privy")]
    fn privy(&self) -> &'static str {
        "privy"
    }

    fn foobar(&self) -> &'static str {
        "Fee Fie Foe Foo"
    }

    fn __add__(&self, other: String) -> String {
        format!("foo{other}")
    }

    #[service(skip)]
    #[expect(dead_code, reason = "nobody can call it, which is the point")]
    fn spam(&self) {}
}

struct Properties(AtomicI64);

#[object]
impl Properties {
    #[service(get)]
    fn counter(&self) -> i64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    #[service(get)]
    fn dont_touch_me(&self) -> Result<(), ZeroDivisionError> {
        Err(ZeroDivisionError::new("division by zero"))
    }
}

struct Dummy {
    name: String,
    released: Arc<Mutex<Vec<String>>>,
}

impl Drop for Dummy {
    fn drop(&mut self) {
        self.released.lock().unwrap().push(std::mem::take(&mut self.name));
    }
}

#[object]
impl Dummy {
    fn itself(&self, context: &Context) -> Local {
        context.this().clone()
    }
}

struct Hashed;

#[object]
impl Hashed {
    fn __hash__(&self) -> i64 {
        1234
    }
}

struct Unhashable;

#[object]
impl Unhashable {
    fn __eq__(&self, _other: Parcel) -> bool {
        true
    }
}
