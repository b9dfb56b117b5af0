//! Translates native requests to operations.

use rpyc_protocol::registry::native::{self, Page};

use crate::dispatch::operation::Operation;
use crate::refusal::Refusal;
use crate::table::Extent;

/// Translates a request with the proofs beside its operation. `extent` limits a page to the room of
/// the reply.
pub(super) fn to_operation(
    asked: native::Operation,
    proofs: Vec<String>,
    extent: impl FnOnce(Page) -> Extent,
) -> Result<Operation<'static>, Refusal> {
    use native::Operation as Asked;
    Ok(match asked {
        Asked::Register(registration) => Operation::Register { registration, proofs },
        Asked::Renew { lease } => Operation::Renew(lease),
        Asked::Update { lease, details } => Operation::Update(lease, details),
        Asked::Deregister(target) => Operation::Deregister(target),
        Asked::Drain(target) => Operation::Drain { target, is_draining: true },
        Asked::Undrain(target) => Operation::Drain { target, is_draining: false },
        Asked::Release { name } => Operation::Release(name),
        Asked::Resolve { name, filter, page } => {
            Operation::Resolve { name, filter, extent: extent(page) }
        }
        Asked::List { host, prefix, glob, filter, page } => {
            Operation::List { host, prefix, glob, filter, extent: extent(page) }
        }
        Asked::Describe { target, page } => Operation::Describe { target, extent: extent(page) },
        Asked::Watch { glob, .. } => Operation::Watch { glob },
        Asked::Speaks { target, dialect } => Operation::Speaks { target, dialect },
        Asked::Status => Operation::Status,
        Asked::Ping => Operation::Ping,
        _ => return Err(Refusal::UnknownOperation),
    })
}
