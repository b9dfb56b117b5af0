//! Limits on requests: a rate for each source, and shedding under overload.

mod budget;
mod load;
mod rate;

pub(crate) use budget::{Admission, Budget};
pub(crate) use load::Load;
