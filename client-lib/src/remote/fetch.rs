//! The content of the peer's lists and dicts, brought here in as few round trips as can be.

use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::de::DeserializeOwned;

use super::RemoteObject;
use crate::connection::TimeLimit;
use crate::parcel::{Node, from_node};
use crate::{CallError, ConvertError, Parcel};

/// How many items one answer brings.
const CHUNK: usize = 4096;

/// How many questions are under way at a time.
const PIPELINED: usize = 64;

/// How many lists may be in each other.
const DEPTH: usize = 64;

/// How many items one fetch may bring.
const ITEMS: usize = 4_000_000;

/// Takes what came for a `T`, fetching what stayed at the peer if that is needed.
pub(crate) async fn take<T: DeserializeOwned>(
    parcel: Parcel,
    limit: TimeLimit,
) -> Result<T, CallError> {
    if matches!(parcel, Parcel::Value(_)) {
        return parcel.parse().map_err(CallError::Result);
    }
    match parcel.clone().parse() {
        Err(error) if error.is_by_reference() => {}
        done => return done.map_err(CallError::Result),
    }
    let node = limit.bound(Fetch::new().content(parcel, DEPTH)).await;
    let node = node.unwrap_or_else(|| Err(limit.expired(true))).map_err(after_running)?;
    from_node(node).map_err(CallError::Result)
}

/// An error of a fetch, as that of the call whose result is fetched: the call has run.
fn after_running(error: CallError) -> CallError {
    match error {
        CallError::Disconnected { reason, .. } => {
            CallError::Disconnected { reason, may_have_run: true }
        }
        CallError::TooMany(error) => {
            CallError::Result(ConvertError::new(format!("its content cannot be fetched: {error}")))
        }
        other => other,
    }
}

impl RemoteObject {
    /// Fetches all items: `list(object)`. One round trip for a list of values that is not long. The
    /// timeout of the connection bounds all round trips together.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Cancel safety
    /// Cancel safe, but for the items of an iterator, which are lost.
    pub async fn to_vec<T: DeserializeOwned>(&self) -> Result<Vec<T>, CallError> {
        self.to_vec_within(self.default_timeout()).await
    }

    /// As [`to_vec`](Self::to_vec), with another timeout.
    pub(crate) async fn to_vec_within<T: DeserializeOwned>(
        &self,
        timeout: Option<Duration>,
    ) -> Result<Vec<T>, CallError> {
        let members =
            fetch_within(timeout, |fetch| async move { fetch.members(self, DEPTH).await });
        let members = members.await?.into_iter();
        members.map(|member| from_node(member).map_err(CallError::Result)).collect()
    }

    /// Fetches all items of a dict as pairs of key and value: `dict(object).items()`. Two round
    /// trips for one that is not large. They can be collected into any map. The timeout of the
    /// connection bounds all round trips together.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn to_map<K, V, M>(&self) -> Result<M, CallError>
    where
        K: DeserializeOwned,
        V: DeserializeOwned,
        M: FromIterator<(K, V)>,
    {
        self.to_map_within(self.default_timeout()).await
    }

    /// As [`to_map`](Self::to_map), with another timeout.
    pub(crate) async fn to_map_within<K, V, M>(
        &self,
        timeout: Option<Duration>,
    ) -> Result<M, CallError>
    where
        K: DeserializeOwned,
        V: DeserializeOwned,
        M: FromIterator<(K, V)>,
    {
        let pairs = fetch_within(timeout, |fetch| async move { fetch.pairs(self, DEPTH).await });
        let pairs = pairs.await?;
        let pair = |(key, value)| Ok((from_node(key)?, from_node(value)?));
        pairs.into_iter().map(pair).collect::<Result<M, _>>().map_err(CallError::Result)
    }

    /// Fetches the content of a list, a dict or the like, and of those in it. The timeout of the
    /// connection bounds all round trips together.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Cancel safety
    /// Cancel safe, but for the items of an iterator, which are lost.
    pub async fn fetch<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        self.content_within(self.default_timeout()).await
    }

    /// As [`fetch`](Self::fetch), with another timeout.
    pub(crate) async fn content_within<T: DeserializeOwned>(
        &self,
        timeout: Option<Duration>,
    ) -> Result<T, CallError> {
        let content = |fetch: Fetch| fetch.content(self.clone().into(), DEPTH);
        let node = fetch_within(timeout, content).await?;
        from_node(node).map_err(CallError::Result)
    }

    /// The timeout of the connection.
    pub(crate) fn default_timeout(&self) -> Option<Duration> {
        self.0.handle.shared.timeout
    }
}

/// Does all of a fetch within `timeout`.
async fn fetch_within<T, F>(
    timeout: Option<Duration>,
    fetch: impl FnOnce(Fetch) -> F,
) -> Result<T, CallError>
where
    F: Future<Output = Result<T, CallError>>,
{
    let limit = TimeLimit::from_now(timeout);
    limit.bound(fetch(Fetch::new())).await.unwrap_or_else(|| Err(limit.expired(true)))
}

/// How the content of an object is had.
#[derive(Clone, Copy)]
enum Form {
    Seq,
    Map,
    /// An object without content to fetch.
    Object,
}

impl Form {
    fn of(class: &str) -> Self {
        match class {
            "builtins.list"
            | "builtins.tuple"
            | "builtins.set"
            | "builtins.frozenset"
            | "builtins.range"
            | "builtins.bytearray"
            | "builtins.generator"
            | "builtins.map"
            | "builtins.filter"
            | "builtins.zip"
            | "builtins.enumerate"
            | "builtins.reversed"
            | "builtins.list_iterator"
            | "builtins.tuple_iterator"
            | "builtins.set_iterator"
            | "builtins.range_iterator"
            | "builtins.dict_keys"
            | "builtins.dict_values"
            | "builtins.dict_items"
            | "builtins.dict_keyiterator"
            | "builtins.dict_valueiterator"
            | "builtins.dict_itemiterator"
            | "collections.deque"
            | "collections.UserList"
            | "array.array" => Self::Seq,
            "builtins.dict"
            | "builtins.mappingproxy"
            | "collections.OrderedDict"
            | "collections.defaultdict"
            | "collections.Counter"
            | "collections.UserDict"
            | "collections.ChainMap" => Self::Map,
            _ => Self::Object,
        }
    }
}

/// One fetch, however many objects it takes. Its calls have no timeout: what fetches bounds them
/// all.
#[derive(Clone)]
struct Fetch {
    /// How many more items it may bring.
    left: Arc<AtomicUsize>,
}

type Fetching<T> = Pin<Box<dyn Future<Output = Result<T, CallError>> + Send>>;

impl Fetch {
    fn new() -> Self {
        Self { left: Arc::new(AtomicUsize::new(ITEMS)) }
    }

    /// The parcel with the content of the lists and dicts in it.
    fn content(&self, parcel: Parcel, depth: usize) -> Fetching<Node> {
        let fetch = self.clone();
        Box::pin(async move {
            let Some(depth) = depth.checked_sub(1) else {
                return Err(too_much(format!("lists and dicts nested more than {DEPTH} deep")));
            };
            match parcel {
                Parcel::Tuple(members) => fetch.contents(members, depth).await.map(Node::Seq),
                Parcel::Remote(object) => match Form::of(object.class_name()) {
                    Form::Seq => fetch.members(&object, depth).await.map(Node::Seq),
                    Form::Map => fetch.pairs(&object, depth).await.map(Node::Map),
                    Form::Object => Ok(Node::Parcel(object.into())),
                },
                here => Ok(Node::Parcel(here)),
            }
        })
    }

    async fn contents(&self, parcels: Vec<Parcel>, depth: usize) -> Result<Vec<Node>, CallError> {
        if parcels.iter().all(|parcel| matches!(parcel, Parcel::Value(_))) {
            return Ok(parcels.into_iter().map(Node::Parcel).collect());
        }
        let contents = parcels.into_iter().map(|parcel| self.content(parcel, depth));
        stream::iter(contents).buffered(PIPELINED).try_collect().await
    }

    async fn members(&self, object: &RemoteObject, depth: usize) -> Result<Vec<Node>, CallError> {
        let items = self.items(object).await?;
        self.contents(items, depth).await
    }

    /// The items of an object, unconverted.
    ///
    /// Python takes items of whatever can be iterated over, so most lists come in one answer. Only
    /// a longer one needs an iterator, and is fetched again.
    async fn items(&self, object: &RemoteObject) -> Result<Vec<Parcel>, CallError> {
        let first = self.chunk(object).await?;
        if first.len() < CHUNK {
            return Ok(first);
        }
        let iterator: RemoteObject = object.call("__iter__", ()).timeout(None).await?;
        // What iterates over itself has given its first items away.
        let mut items = if iterator.is_same(object) { first } else { Vec::new() };
        loop {
            let chunk = self.chunk(&iterator).await?;
            if chunk.is_empty() {
                return Ok(items);
            }
            items.extend(chunk);
        }
    }

    async fn chunk(&self, object: &RemoteObject) -> Result<Vec<Parcel>, CallError> {
        let items = object.take_items(CHUNK).timeout(None).await?;
        let items = items.into_members().map_err(|other| {
            CallError::Result(ConvertError::new(format!("items that are a {}", other.type_name())))
        })?;
        let spend = |left: usize| left.checked_sub(items.len());
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend) {
            Ok(_) => Ok(items),
            Err(_) => Err(too_much(format!("more than {ITEMS} items"))),
        }
    }

    /// The keys and values of a dict.
    ///
    /// `items` brings both at once, where the peer allows it: services of Python allow the special
    /// methods only, by default. So the keys are asked for at the same time, and
    /// if need be their values in one go.
    async fn pairs(
        &self,
        object: &RemoteObject,
        depth: usize,
    ) -> Result<Vec<(Node, Node)>, CallError> {
        let view = object.call::<RemoteObject>("items", ()).timeout(None);
        let (view, keys) = tokio::join!(view.into_future(), self.items(object));
        let items = match view {
            Ok(view) => Some(self.items(&view).await?),
            Err(error) if error.is_remote() => None,
            Err(error) => return Err(error),
        };
        let (keys, values) = match items {
            Some(items) => items
                .into_iter()
                .filter_map(|pair| <[Parcel; 2]>::try_from(pair.into_members().ok()?).ok())
                .map(|[key, value]| (key, value))
                .unzip(),
            None => {
                let keys = keys?;
                let values: Vec<_> = keys
                    .iter()
                    .map(|key| object.item::<Parcel>(key).timeout(None).into_future())
                    .collect();
                let values = stream::iter(values).buffered(PIPELINED);
                (keys, values.try_collect::<Vec<Parcel>>().await?)
            }
        };
        let keys = keys.into_iter().map(Node::Parcel);
        Ok(keys.zip(self.contents(values, depth).await?).collect())
    }
}

fn too_much(message: String) -> CallError {
    CallError::Result(ConvertError::new(message))
}
