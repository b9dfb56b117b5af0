//! The message of an error: its causes, and the switch that helps. Libraries name no switches,
//! because they have none.

use std::fmt::Write as _;
use std::io;

use rpyc_client::{Attempts, Fault, LookupError, RegisterError, RequestError};
use rpyc_protocol::registry::native::ErrorCode;
use rpyc_registry::{BindError, StoreError};

/// The error with its causes, each once, and with advice if there is any.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // An error whose text contains its cause needs no second mention of it.
        if message.is_empty() {
            message = cause;
        } else if !message.contains(&cause) {
            // Writing to a string does not fail.
            let _ = write!(message, ": {cause}");
        }
    }
    match for_error(error) {
        Some(advice) => format!("{message}; {advice}"),
        None => message,
    }
}

/// Said of a change that was requested and not answered.
pub(crate) const MAY_HAVE_RUN: &str = "the request was sent and may have taken effect";

/// The message of a request that a registry did not carry out, with advice if there is any.
pub(crate) fn for_request(error: &RequestError) -> String {
    match for_attempts(error.attempts()) {
        Some(advice) => format!("{error}; {advice}"),
        None => error.to_string(),
    }
}

/// The advice for an error, if there is any.
fn for_error(error: &anyhow::Error) -> Option<String> {
    let bind = error.downcast_ref().and_then(for_bind);
    let store = error.downcast_ref().and_then(|error: &StoreError| match error {
        StoreError::Io { .. } => Some("see --state-dir and --store"),
        StoreError::Newer { .. } => Some("see --state-dir"),
        _ => None,
    });
    let attempts = error.downcast_ref().map(LookupError::attempts);
    let attempts = attempts.or_else(|| error.downcast_ref().map(RequestError::attempts));
    let attempts = attempts.or_else(|| error.downcast_ref().map(RegisterError::attempts));
    let unanswered = error.downcast_ref().and_then(|error: &RegisterError| {
        matches!(error, RegisterError::NoReply(_) | RegisterError::NotAcknowledged(_))
            .then_some(MAY_HAVE_RUN)
    });
    let advice = || store.or(unanswered).or_else(|| for_attempts(attempts?));
    bind.or_else(|| advice().map(str::to_owned))
}

fn for_bind(error: &BindError) -> Option<String> {
    let Some(address) = error.address() else {
        return Some(for_operator_socket(error.kind()).to_owned());
    };
    let port = address.port();
    Some(match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another program listens there: stop it (`ss -lunpt 'sport = {port}'` shows it), or \
             choose another port with --port"
        ),
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need privileges: choose another with --port".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address: choose one that it has with --host".to_owned()
        }
        _ => return None,
    })
}

/// The advice if the socket for operators cannot be bound.
fn for_operator_socket(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => {
            "stop that process, or choose another path with --operator-socket PATH"
        }
        io::ErrorKind::AlreadyExists => {
            "move it away, or choose another path with --operator-socket PATH"
        }
        _ => {
            "choose another path with --operator-socket PATH, or do without: --operator-socket off"
        }
    }
}

/// The switch of a registry that allows what one of `attempts` refused, if there is one.
pub(crate) fn for_attempts(attempts: &Attempts) -> Option<&'static str> {
    let is_closed_to_us = attempts.iter().any(|attempt| {
        attempt.registry.socket_path().is_some() && matches!(attempt.fault, Fault::NotPermitted(_))
    });
    if is_closed_to_us {
        let advice = "only the user that runs the registry may use its socket, and the group of \
                      its --operator-group";
        return Some(advice);
    }
    let code = attempts.iter().find_map(|attempt| match attempt.fault {
        Fault::Declined { code, .. } => Some(code),
        Fault::ListingForbidden => Some(ErrorCode::ListingForbidden),
        _ => None,
    });
    match code? {
        ErrorCode::Forbidden => Some(
            "on the registry's machine, use its socket for operators (--registry unix:PATH); \
                  it allows those of other machines with --operator-from",
        ),
        ErrorCode::LimitReached => {
            Some("the operator of the registry can raise its limits (--max-... switches)")
        }
        ErrorCode::ListingForbidden => Some("the registry allows others to list with --listing"),
        _ => None,
    }
}
