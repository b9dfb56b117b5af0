//! Limits on the details of an instance.

use rpyc_protocol::registry::native::{Details, MAX_WEIGHT};

/// The most tags of an instance.
pub const MAX_TAGS: usize = 32;

/// The most keys of an instance's metadata.
pub const MAX_META: usize = 32;

/// The most bytes of a tag, a key, a zone or a protocol.
pub const MAX_WORD_BYTES: usize = 64;

/// The most bytes of a value of metadata.
pub const MAX_VALUE_BYTES: usize = 256;

/// The most bytes of all tags and metadata of an instance together.
pub const MAX_DETAILS_BYTES: usize = 2048;

/// The details of a registration are invalid. The registrant is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DetailsError {
    /// A value is empty.
    #[error("a {what} is empty")]
    Empty {
        /// The kind of value.
        what: &'static str,
    },
    /// A value is too long.
    #[error("a {what} is longer than {limit} bytes")]
    TooLong {
        /// The kind of value.
        what: &'static str,
        /// The most bytes.
        limit: usize,
    },
    /// There are too many values.
    #[error("there are more than {limit} {what}")]
    TooMany {
        /// The kind of value.
        what: &'static str,
        /// The most values.
        limit: usize,
    },
}

/// Bounds the weight: a greater one counts as the greatest.
pub(crate) fn bound(details: &mut Details) {
    details.weight = details.weight.map(|weight| weight.min(MAX_WEIGHT));
}

/// Checks the details of a registration.
///
/// # Errors
/// [`DetailsError`] names the first limit that is exceeded.
pub(crate) fn check(details: &Details) -> Result<(), DetailsError> {
    use DetailsError::{Empty, TooLong, TooMany};
    let word = |what, text: &str| match text.len() {
        0 => Err(Empty { what }),
        1..=MAX_WORD_BYTES => Ok(()),
        _ => Err(TooLong { what, limit: MAX_WORD_BYTES }),
    };
    if details.tags.len() > MAX_TAGS {
        return Err(TooMany { what: "tags", limit: MAX_TAGS });
    }
    if details.meta.len() > MAX_META {
        return Err(TooMany { what: "keys of metadata", limit: MAX_META });
    }
    let mut bytes = 0;
    for tag in &details.tags {
        word("tag", tag)?;
        bytes += tag.len();
    }
    for (key, value) in &details.meta {
        word("key of metadata", key)?;
        if value.len() > MAX_VALUE_BYTES {
            return Err(TooLong { what: "value of metadata", limit: MAX_VALUE_BYTES });
        }
        bytes += key.len() + value.len();
    }
    if bytes > MAX_DETAILS_BYTES {
        return Err(TooLong { what: "set of tags and metadata", limit: MAX_DETAILS_BYTES });
    }
    for (what, text) in [("zone", &details.zone), ("protocol", &details.protocol)] {
        text.as_deref().map_or(Ok(()), |text| word(what, text))?;
    }
    Ok(())
}
