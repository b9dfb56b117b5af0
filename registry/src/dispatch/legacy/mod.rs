//! RPyC's own protocol, brine.

mod answers;
mod codec;
mod cuts;

pub use answers::LegacyAnswers;
