//! The content of whatever a client gives to fill lists and dicts with.

use rpyc_client::{Exception, Parcel, Value};

use super::{Dict, List};
use crate::builtins::{MemoryError, TypeError};

/// How many items clients can make a list or dict hold. What the service itself puts there is not
/// limited.
pub(super) const MOST_ITEMS: usize = 1_000_000;

/// Refuses what would grow without bounds.
pub(super) fn check_len(len: usize) -> Result<(), MemoryError> {
    if len > MOST_ITEMS {
        return Err(MemoryError::new(format!("at most {MOST_ITEMS} items")));
    }
    Ok(())
}

/// The items of an iterable, of either side; `refusal` is for anything else.
pub(super) async fn items(from: Parcel, refusal: &str) -> Result<Vec<Parcel>, Exception> {
    let items = match from {
        Parcel::Value(Value::Str(text)) => {
            text.chars().map(|char| Parcel::from(char.to_string())).collect()
        }
        Parcel::Value(Value::Bytes(bytes)) => {
            bytes.into_iter().map(|byte| i64::from(byte).into()).collect()
        }
        Parcel::Value(Value::FrozenSet(set)) => set.0.into_iter().map(Parcel::from).collect(),
        Parcel::Remote(remote) => remote.to_vec().await?,
        Parcel::Local(local) => {
            if let Some(list) = local.downcast_ref::<List>() {
                list.items()
            } else if let Some(dict) = local.downcast_ref::<Dict>() {
                dict.pairs().into_iter().map(|(key, _)| key.into()).collect()
            } else {
                return Err(TypeError::new(refusal).into());
            }
        }
        other => other.into_members().map_err(|_no_tuple| TypeError::new(refusal))?,
    };
    check_len(items.len())?;
    Ok(items)
}

/// The pairs of a dict of either side, or of an iterable of pairs.
pub(super) async fn pairs(from: Parcel) -> Result<Vec<(Value, Parcel)>, Exception> {
    if let Parcel::Local(local) = &from
        && let Some(dict) = local.downcast_ref::<Dict>()
    {
        return Ok(dict.pairs());
    }
    let pairs: Vec<(Parcel, Parcel)> = match from {
        Parcel::Remote(remote) => remote.fetch().await?,
        other => other.parse()?,
    };
    check_len(pairs.len())?;
    pairs.into_iter().map(|(key, value)| Ok((super::dict::key(key)?, value))).collect()
}
