//! The work that all faces share: readiness, answers that wait, overload and counting.

mod drain;
mod front;
mod pressure;
mod waiting;

pub(crate) use front::{Readiness, Reception, SOCKET_ERROR_PAUSE};
pub(super) use pressure::{Pressure, Spare};
pub(super) use waiting::NotDurable;
