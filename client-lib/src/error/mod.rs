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
const NO_REGISTRY_HINT: &str = "start one, or set RPYC_REGISTRY=HOST[:PORT]";

/// What to try when no registry answers.
const NO_REPLY_HINT: &str =
    "check that one runs there and that no firewall blocks it, or set RPYC_REGISTRY=HOST[:PORT]";

/// What to try when a registry refuses a request without a reason.
fn refused_hint(attempts: &Attempts) -> &'static str {
    if attempts.any(|fault| matches!(fault, Fault::Closed)) {
        "; the log of the registry has the reason"
    } else {
        ""
    }
}
