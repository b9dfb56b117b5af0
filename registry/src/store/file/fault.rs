//! Failures of the files, and their description for operators.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::Error;

use super::directory::is_full;
use super::schema;
use crate::store::StoreError;

/// The file cannot be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// Trying again would not help.
    Fatal(StoreError),
    /// The disk is full.
    NoRoom(StoreError),
}

/// An operation on the file failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// Its content is invalid.
    Damaged(String),
    /// The system reports an error.
    Io(io::Error),
    /// Its format is newer than this version knows.
    Newer(u64),
}
impl Fault {
    /// Describes a failure to read records, for operators.
    pub(super) fn explain_reading(&self, path: &Path) -> String {
        match self {
            Self::Io(error) => {
                format!("cannot read {}: {error}; the registry tries again", path.display())
            }
            Self::Damaged(_) | Self::Newer(_) => self.explain(path),
        }
    }

    /// Describes a failure to write a group, and the remedy, for operators.
    pub(super) fn explain(&self, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::Io(error) if is_full(error) => {
                format!(
                    "cannot write to {path}: {error}; make room there; the registry tries again"
                )
            }
            Self::Io(error) => {
                format!("cannot write to {path}: {error}; the registry tries again")
            }
            Self::Damaged(why) => format!(
                "{path} is damaged ({why}); restart the registry, which moves it aside and \
                 restores what it can"
            ),
            Self::Newer(_) => format!("{path} has a newer format, so two registries write to it"),
        }
    }
}
/// Runs `work`; a panic of the library on unexpected damage counts as a fault as well.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| cause.downcast_ref::<&str>().copied());
        Err(Fault::Damaged(text.unwrap_or("it cannot be read").to_owned()))
    })
}

pub(super) fn no(word: &str) -> Fault {
    Fault::Damaged(format!("it has no valid {word}"))
}

impl Fault {
    pub(super) fn at(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        match self {
            Self::Damaged(why) => {
                let (what, source) = ("use", io::Error::new(io::ErrorKind::InvalidData, why));
                StoreError::Io { what, path, source }
            }
            Self::Io(source) => StoreError::Io { what: "open", path, source },
            Self::Newer(found) => {
                StoreError::Newer { path, found, known: schema::newest(schema::MIGRATIONS) }
            }
        }
        .into()
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Io { source, .. } if is_full(source) => Self::NoRoom(error),
            _ => Self::Fatal(error),
        }
    }
}

impl<E: Into<Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        match error.into() {
            Error::Io(error) => match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    Self::Damaged(error.to_string())
                }
                _ => Self::Io(error),
            },
            Error::Corrupted(why) => Self::Damaged(why),
            error @ (Error::TableTypeMismatch { .. }
            | Error::TableIsMultimap(_)
            | Error::TableDoesNotExist(_)
            | Error::TypeDefinitionChanged { .. }
            // No registry has written another version of redb's format.
            | Error::UpgradeRequired(_)) => Self::Damaged(error.to_string()),
            error => Self::Io(io::Error::other(error.to_string())),
        }
    }
}
