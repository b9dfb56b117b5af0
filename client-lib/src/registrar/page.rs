//! Questions that the native encoding answers in pages, and the legacy one in part.

use rpyc_protocol::brine::{DecodeError, DecodeErrorKind};
use rpyc_protocol::registry::Request;
use rpyc_protocol::registry::native::{self, Cursor, ErrorCode, Operation};
use rpyc_protocol::registry::reply::Endpoint;

use super::native::RegistryProtocol;
use super::question::{Question, Reading, encode, read_endpoints, read_names};
use crate::random::request_id;
use crate::{Fault, Transport};

/// An answer in whichever of the two encodings the registry speaks.
#[derive(Debug)]
pub(super) enum EitherReply<L> {
    /// With ages, and with a place to go on from if it is not all.
    Native(Box<native::Reply>),
    /// The whole answer of RPyC's own registry.
    Legacy(L),
}

impl Question<EitherReply<Vec<String>>> {
    /// All servers, or those on `host`.
    pub(super) fn services(host: Option<&str>) -> Self {
        let (request, id) = encode_native(Operation::list(host));
        let requests = vec![request, encode(&Request::List { host })];
        Self { requests, id: Some(id), read: |bytes| read_page(bytes, read_names) }
    }
}

impl Question<EitherReply<Vec<Endpoint>>> {
    /// The servers of `name`, with their ages.
    pub(super) fn resolve(name: &str) -> Self {
        let (request, id) = encode_native(Operation::resolve(name));
        let requests = vec![request, encode(&Request::Query { name })];
        Self { requests, id: Some(id), read: |bytes| read_page(bytes, read_endpoints) }
    }
}

impl Question<RegistryProtocol> {
    /// Which of the two protocols is there?
    pub(super) fn protocol() -> Self {
        let legacy = encode(&Request::Query { name: "RPYC" });
        let (request, id) = encode_native(Operation::Ping);
        Self { requests: vec![request, legacy], id: Some(id), read: read_protocol }
    }
}

fn read_protocol(bytes: &[u8]) -> Reading<RegistryProtocol> {
    if !bytes.first().is_some_and(|&first| native::is_native(first)) {
        return match read_endpoints(bytes) {
            Reading::Fault(fault) if !matches!(fault, Fault::Unknown) => Reading::Fault(fault),
            _ => Reading::Provisional(RegistryProtocol::Legacy),
        };
    }
    match read_reply(bytes) {
        Ok(_) => Reading::Answer(RegistryProtocol::Native),
        Err(fault) => Reading::Fault(fault),
    }
}

impl Question<native::Reply> {
    /// What only the native face answers.
    pub(super) fn native(operation: Operation) -> Self {
        let (request, id) = encode_native(operation);
        Self { requests: vec![request], id: Some(id), read: read_native }
    }

    /// A registration with proofs that its addresses are the registrant's.
    pub(super) fn registration(operation: Operation, proofs: Vec<String>) -> Self {
        let id = request_id();
        let request = native::Request { proofs, ..native::Request::new(operation).with_id(id) };
        Self { requests: vec![encode_request(&request)], id: Some(id), read: read_native }
    }

    /// What comes after the place `after` in the answer to `operation`?
    pub(super) fn more(operation: Operation, after: Cursor) -> Self {
        Self::native(operation.going_on_after(after))
    }
}

/// The legacy answer does unless the native one comes.
fn read_page<L>(bytes: &[u8], read_legacy: fn(&[u8]) -> Reading<L>) -> Reading<EitherReply<L>> {
    if !bytes.first().is_some_and(|&first| native::is_native(first)) {
        return match read_legacy(bytes) {
            Reading::Answer(answer) | Reading::Provisional(answer) => {
                Reading::Provisional(EitherReply::Legacy(answer))
            }
            Reading::Fault(fault) => Reading::Fault(fault),
            Reading::Cookie(cookie) => Reading::Cookie(cookie),
        };
    }
    match read_native(bytes) {
        Reading::Answer(reply) | Reading::Provisional(reply) => {
            // A page may have no room for even one, and go on elsewhere.
            let has_content = reply.next.is_some()
                || reply.truncated
                || reply.services.iter().flatten().any(|one| !one.instances.is_empty());
            if has_content {
                Reading::Answer(EitherReply::Native(Box::new(reply)))
            } else {
                Reading::Fault(Fault::Unknown)
            }
        }
        Reading::Fault(fault) => Reading::Fault(fault),
        Reading::Cookie(cookie) => Reading::Cookie(cookie),
    }
}

fn read_native(bytes: &[u8]) -> Reading<native::Reply> {
    match read_reply(bytes) {
        Ok(reply) => Reading::Answer(reply),
        Err(Fault::Declined { code: ErrorCode::CookieRequired, message }) => {
            match native::Reply::parse(bytes).ok().and_then(|reply| reply.cookie) {
                Some(cookie) => Reading::Cookie(cookie),
                None => {
                    Reading::Fault(Fault::Declined { code: ErrorCode::CookieRequired, message })
                }
            }
        }
        Err(fault) => Reading::Fault(fault),
    }
}

/// Reads a native answer that is not an error.
pub(super) fn read_reply(bytes: &[u8]) -> Result<native::Reply, Fault> {
    accepted(native::Reply::parse(bytes).map_err(Fault::UndecodableNative)?)
}

/// An answer, unless it is an error.
pub(super) fn accepted(reply: native::Reply) -> Result<native::Reply, Fault> {
    match reply {
        native::Reply { error: Some(error), .. } => Err(match error.code {
            ErrorCode::ListingForbidden => Fault::ListingForbidden,
            // It may hold any characters, and appears in the middle of a sentence.
            code => {
                let message = error.message.escape_debug().take(MAX_MESSAGE).collect();
                Fault::Declined { code, message }
            }
        }),
        reply => Ok(reply),
    }
}

/// Whether an answer to QUERY of `len` bytes may have left something out: this project's registry
/// adds entries while they fit. RPyC's own writes any number, and a longer answer is all of it.
pub(super) fn may_be_cut_query(len: usize) -> bool {
    (LEAST_QUERY_CAP - MAX_ENTRY..=MAX_READ).contains(&len)
}

/// The same of an answer to LIST.
pub(super) fn may_be_cut_list(transport: Transport, len: usize) -> bool {
    let cap = match transport {
        Transport::Udp => 10 * MAX_READ,
        Transport::Tcp | Transport::Unix => MAX_READ,
    };
    (cap - MAX_NAME..=cap).contains(&len)
}

/// The most bytes that RPyC's clients read of an answer; ten times as many of a LIST over UDP.
const MAX_READ: usize = 1500;

/// The longest answer to QUERY over IPv6, where it is shortest.
const LEAST_QUERY_CAP: usize = 1500 - 40 - 8;

/// The longest entry of an answer to QUERY: an IPv6 address with its zone, and the path of a
/// socket.
const MAX_ENTRY: usize = 1 + 3 + 64 + 3 + 255;

/// The longest entry of an answer to LIST.
const MAX_NAME: usize = 3 + 255;

/// The fault of an answer that is readable but does not fit the question.
pub(super) fn not_a_reply() -> Fault {
    Fault::Undecodable(DecodeError { kind: DecodeErrorKind::NotAReply, offset: 0 })
}

/// The most characters of a registry's own message that an error shows.
const MAX_MESSAGE: usize = 300;

/// How long a request is made: a registry answers at most three times as long over UDP, so as much
/// as a datagram may hold.
const REQUEST_BYTES: usize = native::MAX_DATAGRAM.div_ceil(native::MAX_AMPLIFICATION);

/// A request and its number.
fn encode_native(operation: Operation) -> (Vec<u8>, u64) {
    let id = request_id();
    (encode_request(&native::Request::new(operation).with_id(id)), id)
}

/// The same request with a cookie; `None` if it is not a native request.
pub(super) fn with_cookie(request: &[u8], cookie: String) -> Option<Vec<u8>> {
    let request = native::Request::parse(request).ok()?;
    Some(encode_request(&native::Request { cookie: Some(cookie), ..request }))
}

fn encode_request(request: &native::Request) -> Vec<u8> {
    let mut line = request.to_bytes();
    // White space after a value means nothing in JSON.
    line.resize(line.len().max(REQUEST_BYTES - 1), b' ');
    line.push(b'\n');
    line
}
