//! What the attributes make of an `impl` block.
#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use rpyc_client::{CallError, Connection, RemoteObject};
use rpyc_server::builtins::{KeyError, ValueError};
use rpyc_server::{
    Args, Context, Dict, Exception, IntoException, List, Local, Parcel, Server, Value, args,
    kwargs, object, service,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

#[derive(Debug, Deserialize, Serialize)]
struct Employee {
    last: String,
    salary: f64,
}

#[derive(Debug, thiserror::Error, IntoException)]
#[exception(PermissionError)]
enum Refused {
    #[error("come again")]
    #[exception("desk.Closed")]
    Closed,
    #[error("{0} is too long a queue")]
    Busy(usize),
    #[error(transparent)]
    #[exception(transparent)]
    Broken(#[from] io::Error),
}

/// Of no exception that it names.
#[derive(Debug, thiserror::Error, IntoException)]
#[error("queue no. {number}")]
struct Lost {
    number: i64,
}

#[derive(Debug, thiserror::Error, IntoException)]
#[error(transparent)]
#[exception(transparent)]
struct Wrapped<E: IntoException + std::error::Error>(E);

#[derive(Default)]
struct Desk {
    label: Mutex<Option<String>>,
}

/// A desk.
///
/// With drawers.
#[service(name = "front_desk", aliases("Reception"), class = "desk.Desk")]
impl Desk {
    /// Joins texts.
    fn join(
        &self,
        left: &str,
        right: &str,
        #[service(default = Text::from("-"))] with: Text,
    ) -> String {
        format!("{left}{}{right}", with.0)
    }

    fn maybe(&self, value: Option<i64>) -> Option<i64> {
        value.map(|value| value + 1)
    }

    fn bytes(&self, data: &[u8]) -> Vec<u8> {
        data.iter().rev().copied().collect()
    }

    fn raise(&self, employee: Employee, #[service(name = "by")] _factor: f64) -> Employee {
        Employee { salary: employee.salary * _factor, ..employee }
    }

    fn all(&self, first: i64, rest: Args) -> (i64, usize, Vec<String>) {
        let (positional, keyword) = rest.into_parts();
        (first, positional.len(), keyword.into_iter().map(|(name, _)| name).collect())
    }

    fn sum(&self, numbers: Vec<f64>) -> f64 {
        numbers.iter().sum()
    }

    fn open(&self, path: String) -> io::Result<usize> {
        std::fs::read(path).map(|content| content.len())
    }

    fn find(&self, name: String) -> Result<i64, KeyError> {
        Err(KeyError::new(name))
    }

    fn closed(&self) -> Result<(), Refused> {
        Err(Refused::Closed)
    }

    fn busy(&self) -> Result<(), Refused> {
        Err(Refused::Busy(7))
    }

    fn broken(&self) -> Result<String, Refused> {
        Ok(std::fs::read_to_string("/no/such/file")?)
    }

    fn lost(&self) -> Result<(), Lost> {
        Err(Lost { number: 3 })
    }

    fn wrapped(&self) -> Result<(), Wrapped<Refused>> {
        Err(Wrapped(Refused::Busy(2)))
    }

    #[service(name = "type")]
    fn kind(&self) -> &'static str {
        "desk"
    }

    async fn twice(&self, context: &Context, f: Parcel) -> Result<(Parcel, Parcel), Exception> {
        Ok((context.call(&f, args![1]).await?, context.call(&f, args![2]).await?))
    }

    #[service(get)]
    fn label(&self) -> Option<String> {
        self.label.lock().unwrap().clone()
    }

    #[service(set)]
    fn set_label(&self, value: String) -> Result<(), ValueError> {
        if value.is_empty() {
            return Err(ValueError::new("a label has letters"));
        }
        *self.label.lock().unwrap() = Some(value);
        Ok(())
    }

    #[service(del)]
    fn del_label(&self) {
        *self.label.lock().unwrap() = None;
    }

    fn drawer(&self, size: i64) -> Local {
        Local::new(Drawer { size, next: AtomicI64::new(0) })
    }

    fn list(&self) -> Local {
        let dict = Local::new(Dict::from_iter([("three", 3)]));
        Local::new(List::from_iter([Parcel::from(1), "two".into(), dict.into()]))
    }
}

/// Made of text, to be a default that is written as text.
#[derive(Deserialize)]
struct Text(String);

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

struct Drawer {
    size: i64,
    next: AtomicI64,
}

#[object]
impl Drawer {
    #[service(len)]
    fn size(&self) -> i64 {
        self.size
    }

    #[service(contains)]
    fn has(&self, item: i64) -> bool {
        (0..self.size).contains(&item)
    }

    #[service(next)]
    fn step(&self) -> Option<i64> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        (next < self.size).then_some(next)
    }

    #[service(call)]
    fn pull(&self, #[service(default = 1)] times: i64) -> i64 {
        times * self.size
    }

    #[service(eq)]
    fn equals(&self, other: &Self) -> bool {
        self.size == other.size
    }

    #[service(lt)]
    fn is_less(&self, other: i64) -> bool {
        self.size < other
    }

    #[service(enter)]
    fn open(&self) -> i64 {
        self.size
    }

    #[service(exit)]
    fn close(&self, exception: Option<Parcel>) -> bool {
        exception.is_some()
    }
}

/// A client of a desk, in the same program.
async fn desk() -> (RemoteObject, JoinHandle<rpyc_server::Ended>) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let server =
        Server::builder(Desk::default()).serve_stream(theirs, std::future::pending::<()>());
    let task = tokio::spawn(server);
    (Connection::builder().over(ours).root().await.unwrap(), task)
}

fn told(error: &CallError) -> String {
    error.remote().unwrap().to_string()
}

#[tokio::test]
async fn arguments_come_by_position_and_by_keyword() {
    let (root, _task) = desk().await;
    let joined: String = root.call("join", args!["a", "b"]).await.unwrap();
    assert_eq!(joined, "a-b");
    let joined: String =
        root.call("join", kwargs! { right: "b", with: "+", left: "a" }).await.unwrap();
    assert_eq!(joined, "a+b");
    assert_eq!(root.call::<Option<i64>>("maybe", ()).await.unwrap(), None);
    assert_eq!(root.call::<Option<i64>>("maybe", args![()]).await.unwrap(), None);
    assert_eq!(root.call::<Option<i64>>("maybe", args![4]).await.unwrap(), Some(5));
    let rest = (args![1, 2, 3], kwargs! { a: 1, b: 2 });
    let all: (i64, usize, Vec<String>) = root.call("all", rest).await.unwrap();
    assert_eq!(all, (1, 2, vec!["a".to_owned(), "b".to_owned()]));
}

#[tokio::test]
async fn arguments_are_converted_and_wrong_ones_are_told() {
    let (root, _task) = desk().await;
    let reversed: Parcel = root.call("bytes", args![Parcel::bytes([1, 2])]).await.unwrap();
    assert_eq!(reversed.into_value().unwrap(), Value::Bytes(vec![2, 1]));
    let arguments = args![Employee { last: "Mertz".to_owned(), salary: 2.0 }];
    let raised: Employee = root.call("raise", (arguments, kwargs! { by: 1.5 })).await.unwrap();
    assert_eq!((&*raised.last, raised.salary), ("Mertz", 3.0));
    let error = root.call::<()>("join", args![1, "b"]).await.unwrap_err();
    let message = "TypeError: Desk.join() argument 'left': expected a string, not int";
    assert_eq!(told(&error), message);
    // The content of a list of the client's is fetched.
    let list = Local::new(List::from_iter([1.5, 2.0]));
    assert_eq!(root.call::<f64>("sum", args![list]).await.unwrap(), 3.5);
    assert_eq!(root.call::<f64>("sum", args![[1, 2]]).await.unwrap(), 3.0);
}

#[tokio::test]
async fn errors_are_exceptions() {
    let (root, _task) = desk().await;
    let error = root.call::<usize>("open", args!["/no/such/file"]).await.unwrap_err();
    let exception = error.remote().unwrap();
    assert!(exception.is_builtin("FileNotFoundError"));
    assert_eq!(exception.args, [2.into(), "No such file or directory".into()]);
    assert_eq!(exception.attribute("errno"), Some(&2.into()));
    assert_eq!(exception.traceback, None);
    let error = root.call::<i64>("find", args!["Smith"]).await.unwrap_err();
    assert_eq!(told(&error), "KeyError: Smith");
    let raised = async |name| told(&root.call::<()>(name, ()).await.unwrap_err());
    assert_eq!(raised("closed").await, "desk.Closed: come again");
    assert_eq!(raised("busy").await, "PermissionError: 7 is too long a queue");
    assert_eq!(raised("lost").await, "server.service.Lost: queue no. 3");
    assert_eq!(raised("wrapped").await, "PermissionError: 2 is too long a queue");
    let error = root.call::<String>("broken", ()).await.unwrap_err();
    let exception = error.remote().unwrap();
    assert!(exception.is_builtin("FileNotFoundError"));
    assert_eq!(exception.attribute("errno"), Some(&2.into()));
}

#[tokio::test]
async fn attributes_are_got_set_and_deleted() {
    let (root, _task) = desk().await;
    assert_eq!(root.attr::<Option<String>>("label").await.unwrap(), None);
    root.set_attr("label", "in").await.unwrap();
    assert_eq!(root.attr::<String>("label").await.unwrap(), "in");
    assert!(root.set_attr("label", "").await.unwrap_err().is("ValueError"));
    assert!(root.set_attr("label", 3).await.unwrap_err().is("TypeError"));
    root.del_attr("label").await.unwrap();
    assert_eq!(root.attr::<Option<String>>("label").await.unwrap(), None);
    for name in ["join", "nothing", "__class__", "__dict__"] {
        assert!(root.set_attr(name, 1).await.unwrap_err().is("AttributeError"));
        assert!(root.del_attr(name).await.unwrap_err().is("AttributeError"));
    }
    assert_eq!(root.call::<String>("type", ()).await.unwrap(), "desk");
    assert!(root.call::<String>("kind", ()).await.unwrap_err().is("AttributeError"));
}

#[tokio::test]
async fn a_service_describes_itself() {
    let (root, _task) = desk().await;
    assert_eq!(root.class_name(), "desk.Desk");
    assert_eq!(root.call::<String>("get_service_name", ()).await.unwrap(), "FRONT_DESK");
    let names: Vec<String> = root.call("get_service_aliases", ()).await.unwrap();
    assert_eq!(names, ["FRONT_DESK", "RECEPTION"]);
    assert_eq!(root.attr::<String>("__doc__").await.unwrap(), "A desk.\n\nWith drawers.");
    let methods = root.methods().await.unwrap();
    assert!(methods.contains(&("join".to_owned(), Some("Joins texts.".to_owned()))));
    let dir = root.dir().await.unwrap();
    for name in ["join", "label", "type", "get_service_name"] {
        assert!(dir.iter().any(|known| known == name), "{name}");
    }
}

#[tokio::test]
async fn objects_behave_as_they_are_marked() {
    let (root, _task) = desk().await;
    let drawer: RemoteObject = root.call("drawer", args![3]).await.unwrap();
    assert_eq!(drawer.len().await.unwrap(), 3);
    assert!(drawer.contains(2).await.unwrap() && !drawer.contains(3).await.unwrap());
    assert_eq!(drawer.to_vec::<i64>().await.unwrap(), [0, 1, 2]);
    assert_eq!(drawer.invoke::<i64>(()).await.unwrap(), 3);
    assert_eq!(drawer.invoke::<i64>(kwargs! { times: 2 }).await.unwrap(), 6);
    let (same, other): (RemoteObject, RemoteObject) = (
        root.call("drawer", args![3]).await.unwrap(),
        root.call("drawer", args![4]).await.unwrap(),
    );
    use rpyc_client::Comparison::{Eq, Gt, Lt, Ne};
    assert_eq!(drawer.compare(Eq, same.clone()).await.unwrap(), Some(true));
    assert_eq!(drawer.compare(Ne, same).await.unwrap(), Some(false));
    assert_eq!(drawer.compare(Eq, other).await.unwrap(), Some(false));
    assert_eq!(drawer.compare(Eq, 3).await.unwrap(), None);
    assert_eq!(drawer.compare(Lt, 4).await.unwrap(), Some(true));
    assert_eq!(drawer.compare(Gt, 4).await.unwrap(), None);
    let error = drawer.hash().await.unwrap_err();
    assert_eq!(told(&error), "TypeError: unhashable type: 'Drawer'");
    assert_eq!(drawer.enter::<i64>().await.unwrap(), 3);
    drawer.exit().await.unwrap();
    let size = root.call::<RemoteObject>("drawer", args![-1]).await.unwrap().len().await;
    assert_eq!(told(&size.unwrap_err()), "ValueError: __len__() should return >= 0");
}

#[tokio::test]
async fn lists_and_dicts_stay_where_they_are() {
    let (root, _task) = desk().await;
    let list: RemoteObject = root.call("list", ()).await.unwrap();
    assert_eq!(list.repr().await.unwrap(), "[1, 'two', {'three': 3}]");
    list.call::<()>("append", args![[4]]).await.unwrap();
    list.set_item(0, true).await.unwrap();
    assert_eq!(list.call::<usize>("index", args![1.0]).await.unwrap(), 0);
    assert_eq!(list.call::<Parcel>("pop", ()).await.unwrap().parse::<[i64; 1]>().unwrap(), [4]);
    let dict: RemoteObject = list.item(-1).await.unwrap();
    dict.set_item("four", 4).await.unwrap();
    dict.set_item(1, "int").await.unwrap();
    dict.set_item(true, "the same").await.unwrap();
    assert_eq!(dict.str().await.unwrap(), "{'three': 3, 'four': 4, 1: 'the same'}");
    assert!(dict.item::<Parcel>("five").await.unwrap_err().is("KeyError"));
    dict.del_item(1).await.unwrap();
    let pairs: Vec<(String, i64)> = dict.to_map().await.unwrap();
    assert_eq!(pairs, [("three".to_owned(), 3), ("four".to_owned(), 4)]);
    // A list in itself has an end when it is shown.
    list.call::<()>("append", args![list]).await.unwrap();
    assert!(list.repr().await.unwrap().contains("..."));
}

#[tokio::test]
async fn functions_of_the_client_are_called() {
    let (root, _task) = desk().await;
    let double = Local::function(|args| async move {
        let (number,): (i64,) = args.parse()?;
        Ok(2 * number)
    });
    assert_eq!(root.call::<(i64, i64)>("twice", args![double]).await.unwrap(), (2, 4));
    let error = root.call::<Parcel>("twice", args![7]).await.unwrap_err();
    assert_eq!(told(&error), "TypeError: 'int' object is not callable");
}
