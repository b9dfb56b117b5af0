//! What every face does with a request before and after it is served, once for all of them: whether
//! the registry is ready, answers that wait, what is shed under load, and what is counted.

mod front;
mod pressure;
mod waiting;

pub(crate) use front::{Readiness, Reception, SOCKET_ERROR_PAUSE};
pub(super) use pressure::{Pressure, Spare};
pub(super) use waiting::NotDurable;
