use std::borrow::Cow;
use std::sync::atomic::{AtomicI64, Ordering};

use rpyc_protocol::rpc::Exception;
use tokio::io::duplex;

use super::*;
use crate::{Args, Context, Local, Method, Object, args, denied, kwargs};

#[derive(Debug, Default)]
struct Counter(AtomicI64);

impl Object for Counter {
    fn class(&self) -> Cow<'_, str> {
        "example.Counter".into()
    }

    fn methods(&self) -> Cow<'_, [Method]> {
        vec![Method::new("inc").with_doc("Adds.")].into()
    }

    async fn get_attr(&self, _: &Context, name: &str) -> Result<Parcel, Exception> {
        match name {
            "value" => Ok(self.0.load(Ordering::Relaxed).into()),
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

    async fn call_attr(
        &self,
        context: &Context,
        name: &str,
        args: Args,
    ) -> Result<Parcel, Exception> {
        match name {
            "inc" => {
                let (by,): (i64,) = args.parse()?;
                Ok((self.0.fetch_add(by, Ordering::Relaxed) + by).into())
            }
            "apply" => {
                let (function, value): (Parcel, Parcel) = args.parse()?;
                context.call(&function, args![value]).await
            }
            "echo" => {
                let (value,): (Parcel,) = args.parse()?;
                Ok(value)
            }
            "keyword" => Ok(args.keyword().first().map_or("", |(name, _)| &**name).into()),
            _ => Err(denied(name)),
        }
    }
}

/// Two connections over one pipe, the second of which offers a counter.
fn pair() -> (Connection, Connection) {
    let (near, far) = duplex(1 << 16);
    let server = Connection::builder().serving(Local::new(Counter::default()));
    let (server, driver) = server.accept(far);
    tokio::spawn(driver);
    (Connection::builder().over(near), server)
}

#[tokio::test]
async fn calls_attributes_and_exceptions() {
    let (client, _server) = pair();
    let root = client.root().await.unwrap();
    assert_eq!(root.class_name(), "example.Counter");
    assert_eq!(root.call::<i64>("inc", args![5]).await.unwrap(), 5);
    assert_eq!(root.attr::<i64>("value").await.unwrap(), 5);
    root.set_attr("value", 40).await.unwrap();
    assert_eq!(root.call::<i64>("exposed_inc", args![2]).await.unwrap(), 42);
    assert_eq!(root.call::<String>("keyword", kwargs! { last: 1 }).await.unwrap(), "last");
    let inc: RemoteObject = root.attr("inc").await.unwrap();
    assert_eq!(inc.invoke::<i64>(args![1]).await.unwrap(), 43);
    let error = root.call::<()>("secret", ()).await.unwrap_err();
    assert!(error.is("AttributeError"));
    assert_eq!(error.to_string(), "AttributeError: cannot access 'secret'");
    assert_eq!(root.repr().await.unwrap(), "<example.Counter object>");
    assert_eq!(root.dir().await.unwrap(), ["inc"]);
}

#[tokio::test]
async fn functions_are_called_back() {
    let (client, _server) = pair();
    let root = client.root().await.unwrap();
    let double = Local::function(|args| async move {
        let (number,): (i64,) = args.parse()?;
        Ok(number * 2)
    });
    assert_eq!(root.call::<i64>("apply", args![double, 21]).await.unwrap(), 42);
    let same: Local = root.call("echo", args![double]).await.unwrap();
    assert!(same.is_same(&double));
}
