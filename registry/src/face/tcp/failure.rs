//! The reasons why the registry ends a connection.

use std::io;
use std::time::Duration;

use super::connection::REQUEST_DEADLINE;
use crate::counters::Loss;
use crate::face::reception::NotDurable;

/// Why a connection ended before its client closed it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the client did not send its request or read the answer within {0:?}")]
    Deadline(Duration),
    #[error("the connection ended inside a request")]
    EndedEarly,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    NotDurable(#[from] NotDurable),
    #[error("the table was not read within {REQUEST_DEADLINE:?}")]
    NotReady,
    #[error("{0}")]
    Refused(#[from] crate::Refusal),
}

impl From<&Failure> for Loss {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Deadline(_) => Self::Deadline,
            Failure::EndedEarly | Failure::Io(_) => Self::Broken,
            Failure::NotDurable(_) => Self::NotQueued,
            Failure::NotReady => Self::NotReady,
            Failure::Refused(refusal) => Self::from(refusal),
        }
    }
}
