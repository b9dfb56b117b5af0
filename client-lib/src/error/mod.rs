//! Why an operation failed: one error type for each, and what each registry did.

mod attempts;
mod call;
mod connect;
mod convert;
mod fault;
mod lookup;
mod register;
mod request;

pub use attempts::{Attempt, Attempts};
pub(crate) use call::RequestFailure;
pub use call::{CallError, Disconnect, TooMany};
pub use connect::{ConnectError, Unreached};
pub use convert::ConvertError;
pub use fault::Fault;
pub use lookup::LookupError;
pub use register::RegisterError;
pub use request::RequestError;

/// What to try when no registry can be asked.
const NO_REGISTRY_HINT: &str = "start one, or name one with RPYC_REGISTRY=HOST[:PORT]";

/// What to try when no registry answers.
const NO_REPLY_HINT: &str =
    "is one running there, and no firewall between? RPYC_REGISTRY=HOST[:PORT] names another";

/// What to try when a registry would not answer.
const REFUSED_HINT: &str = "the log of the registry has the reason";
