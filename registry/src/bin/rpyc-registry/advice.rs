//! Which switch helps against an error: libraries name none, because they have none.

use std::io;

use rpyc_client::{LookupError, RequestError};
use rpyc_protocol::registry::native::ErrorCode;
use rpyc_registry::{BindError, StoreError};

/// The switch that helps against an error, if one does.
pub(crate) fn for_error(error: &anyhow::Error) -> Option<&'static str> {
    const LISTING: &str = "the registry lists to others with --listing (-l)";
    let bind = error.downcast_ref().and_then(|error: &BindError| match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Some("see --port"),
        io::ErrorKind::AddrNotAvailable => Some("see --host"),
        _ => None,
    });
    let store = error.downcast_ref().and_then(|error: &StoreError| match error {
        StoreError::Io { .. } => Some("see --state-dir and --store"),
        StoreError::Newer { .. } => Some("see --state-dir"),
        _ => None,
    });
    let lookup = error
        .downcast_ref()
        .and_then(|error: &LookupError| error.is_listing_forbidden().then_some(LISTING));
    let request = error.downcast_ref().and_then(|error: &RequestError| {
        (error.code() == Some(ErrorCode::ListingForbidden)).then_some(LISTING)
    });
    bind.or(store).or(lookup).or(request)
}
