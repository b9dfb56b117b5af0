//! Objects of the Rust client that a Python server uses.

use std::borrow::Cow;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rpyc_client::{
    Args, Comparison, Connection, Context, Exception, Local, Method, Object, Parcel, args, denied,
};
use rpyc_tests::Reference;
use tokio::sync::mpsc;

use super::{Python, run, with_root};

with_each_version! {
    functions,
    raised_in_a_callback,
    called_at_any_time,
    iterators,
    objects,
    a_root_of_our_own,
    nested_calls_of_bound_threads,
}

fn functions(reference: Reference) {
    with_root(reference, async |root| {
        let add = Local::function(|args| async move {
            let (left, right): (i64, i64) = args.parse()?;
            Ok(left + right)
        });
        assert_eq!(root.call::<i64>("apply", args![add, 1, 2]).await.unwrap(), 3);
        let same: Local = root.call("echo", args![add]).await.unwrap();
        assert!(same.is_same(&add));
        // A callback may call the server in turn.
        let calling = root.clone();
        let nested = Local::function(move |args| {
            let root = calling.clone();
            async move {
                let (depth,): (i64,) = args.parse()?;
                let echoed: i64 = root.call("echo", args![depth]).await?;
                Ok(echoed + 1)
            }
        });
        assert_eq!(root.call::<i64>("apply", args![nested, 6]).await.unwrap(), 7);
    });
}

fn raised_in_a_callback(reference: Reference) {
    with_root(reference, async |root| {
        let fail = Local::function(|_| async { Err::<(), _>(Exception::builtin("KeyError", "k")) });
        let error = root.call::<()>("apply", args![fail]).await.unwrap_err();
        assert!(error.is("KeyError"), "{error:?}");
        let wrong = Local::function(|args| async move { Ok(args.parse::<(i64,)>()?) });
        let error = root.call::<()>("apply", args![wrong, "text"]).await.unwrap_err();
        assert!(error.is("TypeError"), "{error:?}");
    });
}

/// The server may call at any time: the client starts no serving thread.
fn called_at_any_time(reference: Reference) {
    with_root(reference, async |root| {
        let (tell, mut told) = mpsc::channel(1);
        let late = Local::function(move |args| {
            let tell = tell.clone();
            async move {
                let (word,): (String,) = args.parse()?;
                let _gone = tell.send(word).await;
                Ok(())
            }
        });
        root.call::<()>("later", args![late, 0.05]).await.unwrap();
        assert_eq!(told.recv().await.unwrap(), "late");
    });
}

fn iterators(reference: Reference) {
    with_root(reference, async |root| {
        let numbers = Local::iterator(0..100);
        assert_eq!(root.call::<i64>("sum", args![numbers]).await.unwrap(), 4950);
        let numbers = Local::iterator(0..100);
        let all: Vec<i64> = root.call("buffered", args![numbers]).await.unwrap();
        assert!(all.into_iter().eq(0..100));
    });
}

struct Counter(AtomicI64);

impl Counter {
    fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, by: i64) -> i64 {
        self.0.fetch_add(by, Ordering::Relaxed) + by
    }
}

impl Object for Counter {
    fn class(&self) -> Cow<'_, str> {
        "example.Counter".into()
    }

    fn methods(&self) -> Cow<'_, [Method]> {
        let special =
            ["__len__", "__getitem__", "__contains__", "__iter__", "__enter__", "__exit__"];
        let special = special.map(Method::new);
        special.into_iter().chain([Method::new("inc").with_doc("Adds.")]).collect()
    }

    async fn get_attr(&self, _: &Context, name: &str) -> Result<Parcel, Exception> {
        match name {
            "value" => Ok(self.value().into()),
            _ => Err(denied(name)),
        }
    }

    async fn set_attr(&self, _: &Context, name: &str, value: Parcel) -> Result<(), Exception> {
        match name {
            "value" => {
                self.0.store(value.parse()?, Ordering::Relaxed);
                Ok(())
            }
            _ => Err(denied(name)),
        }
    }

    async fn call_attr(&self, _: &Context, name: &str, args: Args) -> Result<Parcel, Exception> {
        match name {
            "inc" => {
                let (by,): (i64,) = args.parse()?;
                Ok(self.add(by).into())
            }
            _ => Err(denied(name)),
        }
    }

    async fn len(&self, _: &Context) -> Result<usize, Exception> {
        Ok(usize::try_from(self.value()).unwrap())
    }

    async fn get_item(&self, _: &Context, key: Parcel) -> Result<Parcel, Exception> {
        match key.parse::<i64>()? {
            index if index < self.value() => Ok(index.into()),
            _ => Err(Exception::builtin("IndexError", "out of range")),
        }
    }

    async fn contains(&self, _: &Context, item: Parcel) -> Result<bool, Exception> {
        Ok(item.parse::<i64>()? < self.value())
    }

    async fn iter(&self, _: &Context) -> Result<Parcel, Exception> {
        Ok(Local::iterator(0..self.value()).into())
    }

    async fn compare(
        &self,
        _: &Context,
        comparison: Comparison,
        other: Parcel,
    ) -> Result<Option<bool>, Exception> {
        let Parcel::Local(other) = other else { return Ok(None) };
        let Some(other) = other.downcast_ref::<Self>() else { return Ok(None) };
        Ok((comparison == Comparison::Eq).then(|| self.value() == other.value()))
    }

    async fn str(&self, _: &Context) -> Result<String, Exception> {
        Ok(format!("counter at {}", self.value()))
    }

    async fn enter(&self, context: &Context) -> Result<Parcel, Exception> {
        self.add(100);
        Ok(context.this().clone().into())
    }

    async fn exit(&self, _: &Context, _: Option<Parcel>) -> Result<bool, Exception> {
        self.add(-100);
        Ok(false)
    }
}

fn objects(reference: Reference) {
    with_root(reference, async |root| {
        let counter = Local::new(Counter(AtomicI64::new(1)));
        let found: Vec<serde_json::Value> = root.call("poke", args![counter]).await.unwrap();
        let expected = serde_json::json!([
            5,
            3,
            true,
            [0, 1, 2, 3, 4],
            true,
            "counter at 5",
            "<example.Counter object>",
            true,
            5,
            7,
            "Adds.",
            true,
            false,
            true
        ]);
        assert_eq!(serde_json::Value::from(found), expected);
        // Python decides when to release the object; in practice it does so at once.
        let connection = root.connection();
        for _ in 0..100 {
            if connection.stats().exports == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{:?}", connection.stats());
    });
}

fn a_root_of_our_own(reference: Reference) {
    let python = Python::start(reference, &[]);
    run(async {
        let counter = Local::new(Counter(AtomicI64::new(1)));
        let builder = Connection::builder().serving(counter);
        let root = python.connect_with(builder).await.root().await.unwrap();
        assert_eq!(root.call::<i64>("call_root", args!["inc", 4]).await.unwrap(), 5);
        let error = root.call::<i64>("call_root", args!["dec", 4]).await.unwrap_err();
        assert!(error.is("AttributeError"), "{error:?}");
    });
}

fn nested_calls_of_bound_threads(reference: Reference) {
    let python = Python::start(reference, &["--bind-threads"]);
    run(async {
        let root = python.connect().await.root().await.unwrap();
        let calling = root.clone();
        let nested = Local::function(move |args| {
            let root = calling.clone();
            async move {
                let (number,): (i64,) = args.parse()?;
                let echoed: i64 = root.call("echo", args![number]).await?;
                Ok(echoed + 1)
            }
        });
        for number in 0..10 {
            let result: i64 = root.call("apply", args![nested, number]).await.unwrap();
            assert_eq!(result, number + 1);
        }
    });
}
