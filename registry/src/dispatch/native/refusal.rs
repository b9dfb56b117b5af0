//! Refusals in the native protocol.

use rpyc_protocol::registry::native::{
    self, ErrorCode, MAX_AMPLIFICATION, Reply, Request, is_native,
};

use crate::refusal::Refusal;
use crate::table::Asker;

/// The reply to a native asker while the registry reads its store. `None` if the only answer is
/// silence: to a legacy request, or to bytes that are not a request.
pub(crate) fn not_ready(asker: &Asker, message: &[u8]) -> Option<Vec<u8>> {
    if !message.first().is_some_and(|first| is_native(*first)) {
        return None;
    }
    let request = Request::parse(message);
    if asker.transport.is_datagram() && request.is_err() {
        return None;
    }
    let id = request.ok().and_then(|request| request.id);
    let told = |message: &str| {
        let reply = Reply::error(ErrorCode::NotReady, message.to_owned());
        Reply { v: native::VERSION, id, ..reply }.to_bytes()
    };
    let whole = told("the registry has just started and is reading its store: try again");
    if !asker.transport.is_datagram() {
        return Some(whole);
    }
    let room = message.len().saturating_mul(MAX_AMPLIFICATION);
    [whole, told("")].into_iter().find(|bytes| bytes.len() <= room)
}

impl Refusal {
    /// The reply that reports this refusal.
    pub(super) fn to_reply(&self) -> Reply {
        let code = match self {
            Self::AddressNotAllowed { .. } => ErrorCode::AddressNotAllowed,
            Self::AddressTaken { .. } => ErrorCode::AddressTaken,
            Self::CookieRequired => ErrorCode::CookieRequired,
            Self::ListingForbidden => ErrorCode::ListingForbidden,
            Self::NameTaken { .. } => ErrorCode::NameTaken,
            Self::NotAnOperator => ErrorCode::Forbidden,
            Self::TooManyBytes { .. }
            | Self::TooManyInstances { .. }
            | Self::TooManyInstancesOfSource { .. }
            | Self::TooManyNames { .. }
            | Self::TooManyRegistrations { .. }
            | Self::TooManyRegistrationsOfSource { .. }
            | Self::TooOften { .. } => ErrorCode::LimitReached,
            Self::UnknownLease => ErrorCode::UnknownLease,
            Self::UnknownTarget => ErrorCode::UnknownTarget,
            _ => ErrorCode::BadRequest,
        };
        Reply::error(code, self.to_string())
    }
}
