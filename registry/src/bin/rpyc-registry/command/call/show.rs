//! Formats results as Python would show them, or as JSON.

use std::pin::Pin;

use rpyc_client::{CallError, Parcel, RemoteObject, Value};
use rpyc_server::{Dict, List};
use serde_json::{Map, Number, json};

/// The maximum depth of nested containers.
const DEPTH: u8 = 20;

type Showing<'a, T> = Pin<Box<dyn Future<Output = Result<T, CallError>> + 'a>>;

/// Formats a result as Python's `repr` does. An object of the peer supplies its own `repr`.
pub(super) fn repr(parcel: &Parcel) -> Showing<'_, String> {
    Box::pin(async move {
        Ok(match parcel {
            Parcel::Value(value) => value.to_string(),
            Parcel::Remote(object) => object.repr().await?,
            Parcel::Tuple(members) => {
                let comma = if members.len() == 1 { "," } else { "" };
                format!("({}{comma})", joined(members).await?)
            }
            Parcel::Local(object) => match (object.downcast_ref(), object.downcast_ref()) {
                (Some(list), _) => format!("[{}]", joined(&List::items(list)).await?),
                (_, Some(dict)) => {
                    let mut shown = Vec::new();
                    for (key, value) in Dict::pairs(dict) {
                        shown.push(format!("{key}: {}", repr(&value).await?));
                    }
                    format!("{{{}}}", shown.join(", "))
                }
                // `call` passes no other local objects.
                (None, None) => format!("{object:?}"),
            },
        })
    })
}

async fn joined(members: &[Parcel]) -> Result<String, CallError> {
    let mut shown = Vec::new();
    for member in members {
        shown.push(repr(member).await?);
    }
    Ok(shown.join(", "))
}

/// Converts a result to JSON. A value without a JSON form becomes an object with its `repr`.
pub(super) async fn json(parcel: &Parcel) -> Result<serde_json::Value, CallError> {
    to_json(parcel, DEPTH).await
}

fn to_json(parcel: &Parcel, depth: u8) -> Showing<'_, serde_json::Value> {
    Box::pin(async move {
        let Some(depth) = depth.checked_sub(1) else {
            return Ok(json!({ "repr": repr(parcel).await? }));
        };
        Ok(match parcel {
            Parcel::Value(value) => value_json(value),
            Parcel::Tuple(members) => json!(each(members, depth).await?),
            Parcel::Remote(object) => object_json(object, depth).await?,
            Parcel::Local(object) => match (object.downcast_ref(), object.downcast_ref()) {
                (Some(list), _) => json!(each(&List::items(list), depth).await?),
                (_, Some(dict)) => {
                    let mut map = Map::new();
                    for (key, value) in Dict::pairs(dict) {
                        map.insert(
                            name_of(&Parcel::Value(key)).await?,
                            to_json(&value, depth).await?,
                        );
                    }
                    map.into()
                }
                (None, None) => json!({ "repr": format!("{object:?}") }),
            },
        })
    })
}

/// The JSON name of a dict key. JSON allows only strings as names.
async fn name_of(key: &Parcel) -> Result<String, CallError> {
    match key {
        Parcel::Value(Value::Str(text)) => Ok(text.clone()),
        other => repr(other).await,
    }
}

async fn each(members: &[Parcel], depth: u8) -> Result<Vec<serde_json::Value>, CallError> {
    let mut shown = Vec::new();
    for member in members {
        shown.push(to_json(member, depth).await?);
    }
    Ok(shown)
}

/// Converts Python's built-in containers with their items, and other objects to their `repr`.
async fn object_json(object: &RemoteObject, depth: u8) -> Result<serde_json::Value, CallError> {
    match object.class_name() {
        "builtins.list" | "builtins.set" | "builtins.tuple" => {
            let members = members(object).await?;
            Ok(json!(each(&members, depth).await?))
        }
        "builtins.dict" => {
            let mut map = Map::new();
            for key in members(object).await? {
                let value: Parcel = object.item(&key).await?;
                map.insert(name_of(&key).await?, to_json(&value, depth).await?);
            }
            Ok(map.into())
        }
        _ => Ok(json!({ "repr": object.repr().await? })),
    }
}

/// Fetches the items one by one; an item may be a reference too.
async fn members(object: &RemoteObject) -> Result<Vec<Parcel>, CallError> {
    let mut items = object.items().await?;
    let mut members = Vec::new();
    while let Some(member) = items.next().await? {
        members.push(member);
    }
    Ok(members)
}

fn value_json(value: &Value) -> serde_json::Value {
    let each = |values: &[Value]| -> Vec<_> { values.iter().map(value_json).collect() };
    match value {
        Value::None => serde_json::Value::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => {
            value.to_i64().map_or_else(|| json!(value.to_string()), |it| json!(it))
        }
        Value::Float(value) => {
            Number::from_f64(*value).map_or_else(|| json!(value.to_string()), Into::into)
        }
        Value::Str(value) => json!(value),
        Value::Bytes(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "bytes": hex })
        }
        Value::Tuple(members) => json!(each(members)),
        Value::FrozenSet(set) => json!(each(&set.0)),
        Value::Complex(..) | Value::Slice(_) | Value::Ellipsis | Value::NotImplemented => {
            json!({ "repr": value.to_string() })
        }
    }
}
