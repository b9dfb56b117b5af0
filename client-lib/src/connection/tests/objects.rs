//! What becomes of objects and connections that are handed around.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};

use rpyc_protocol::rpc::{Comparison, Exception};
use tokio::io::duplex;

use super::{Counter, pair, until};
use crate::{CallError, Connection, Context, Local, Object, Parcel, RemoteObject, args};

#[tokio::test]
async fn a_forwarded_object_keeps_its_identity_and_is_released() {
    let (near, far) = pair();
    let far_root = near.root().await.unwrap();
    let (client, _middle) = {
        let (near, far) = duplex(1 << 16);
        let builder = Connection::builder().serving(Local::forwarding(far_root));
        let (middle, driver) = builder.accept(far);
        tokio::spawn(driver);
        (Connection::builder().over(near), middle)
    };
    let root = client.root().await.unwrap();
    assert_eq!(root.class_name(), "example.Counter");
    assert_eq!(root.methods().await.unwrap(), [("inc".into(), Some("Adds.".into()))]);
    let counter: RemoteObject = root.call("counter", ()).await.unwrap();
    let same: RemoteObject = root.call("echo", args![counter]).await.unwrap();
    assert!(counter.is_same(&same));
    assert_eq!(counter.compare(Comparison::Eq, &same).await.unwrap(), Some(true));
    assert_eq!(counter.hash().await.unwrap(), same.hash().await.unwrap());
    let mine = Local::new(Counter::default());
    let back: Local = root.call("echo", args![mine]).await.unwrap();
    assert!(back.is_same(&mine));
    root.set_attr("value", 7).await.unwrap();
    assert_eq!(root.attr::<i64>("value").await.unwrap(), 7);
    assert!(root.call::<()>("secret", ()).await.unwrap_err().is("AttributeError"));
    drop((back, mine));
    let exports = far.stats().exports;
    drop((counter, same));
    until(|| far.stats().exports == exports - 1).await;
}

#[tokio::test]
async fn clones_are_equal_and_other_connections_are_not() {
    let (client, server) = pair();
    let root = client.root().await.unwrap();
    assert_eq!(root.connection(), client);
    assert_ne!(client, server);
    let ids = HashSet::from([client.clone().id(), client.id(), server.id()]);
    assert_eq!(ids.len(), 2);
}

/// Also if the future is dropped in the middle of it.
#[tokio::test]
async fn a_block_is_left_however_it_ends() {
    #[derive(Default)]
    struct Door(AtomicI64);

    impl Object for Door {
        async fn enter(&self, _: &Context) -> Result<Parcel, Exception> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(Parcel::NONE)
        }

        async fn exit(&self, _: &Context, _: Option<Parcel>) -> Result<bool, Exception> {
            self.0.fetch_sub(1, Ordering::SeqCst);
            Ok(false)
        }
    }

    let local = Local::new(Door::default());
    let inside = || local.downcast_ref::<Door>().unwrap().0.load(Ordering::SeqCst);
    let (near, far) = duplex(1 << 16);
    let (_server, driver) = Connection::builder().serving(local.clone()).accept(far);
    tokio::spawn(driver);
    let door = Connection::builder().over(near).root().await.unwrap();
    let peeks = async |()| Ok::<_, CallError>(inside());
    assert_eq!(door.with(peeks).await.unwrap(), 1);
    assert_eq!(inside(), 0);
    let fails = async |()| door.call::<()>("secret", ()).await;
    assert!(door.with(fails).await.unwrap_err().is("AttributeError"));
    assert_eq!(inside(), 0);
    tokio::select! {
        biased;
        _ = door.with(async |()| std::future::pending::<Result<(), CallError>>().await) => {}
        () = until(|| inside() == 1) => {}
    }
    until(|| inside() == 0).await;
}
