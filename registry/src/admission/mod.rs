//! How many requests are served: of each source, and of each kind while more arrive than the
//! registry can serve.

mod budget;
mod load;
mod rate;

pub(crate) use budget::{Admission, Budget};
pub(crate) use load::Load;
