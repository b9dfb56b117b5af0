//! Questions that the native encoding answers in pages, and the legacy one in part.

use rpyc_protocol::registry::Request;
use rpyc_protocol::registry::native::{self, Cursor, ErrorCode, Operation};
use rpyc_protocol::registry::reply::Endpoint;

use super::question::{Question, Reading, encode, read_endpoints, read_names};
use crate::Fault;

/// An answer in whichever of the two encodings the registry speaks.
#[derive(Debug)]
pub(super) enum Page<L> {
    /// With ages, and with a place to go on from if it is not all.
    Native(Box<native::Reply>),
    /// All that RPyC's own registry tells.
    Legacy(L),
}

impl Question<Page<Vec<String>>> {
    /// Who serves anything, or anything on `host`?
    pub(super) fn services(host: Option<&str>) -> Self {
        let operation = Operation::list(host);
        let requests = vec![encode_native(operation), encode(&Request::List { host })];
        Self { requests, read: |bytes| read_page(bytes, read_names) }
    }
}

impl Question<Page<Vec<Endpoint>>> {
    /// Who serves `name`, and since when?
    pub(super) fn resolve(name: &str) -> Self {
        let operation = Operation::resolve(name);
        let requests = vec![encode_native(operation), encode(&Request::Query { name })];
        Self { requests, read: |bytes| read_page(bytes, read_endpoints) }
    }
}

impl Question<native::Reply> {
    /// What comes after the place `after` in the answer to `operation`?
    pub(super) fn more(operation: Operation, after: Cursor) -> Self {
        let operation = operation.going_on_after(after);
        Self { requests: vec![encode_native(operation)], read: read_native }
    }
}

/// Both encodings are asked in one breath; the legacy answer does unless the native one comes.
fn read_page<L>(bytes: &[u8], read_legacy: fn(&[u8]) -> Reading<L>) -> Reading<Page<L>> {
    if !bytes.first().is_some_and(|&first| native::is_native(first)) {
        return match read_legacy(bytes) {
            Reading::Answer(answer) | Reading::Provisional(answer) => {
                Reading::Provisional(Page::Legacy(answer))
            }
            Reading::Fault(fault) => Reading::Fault(fault),
        };
    }
    match read_native(bytes) {
        Reading::Answer(reply) | Reading::Provisional(reply) => {
            let tells_something = reply.next.is_some()
                || reply.services.iter().flatten().any(|one| !one.instances.is_empty());
            if tells_something {
                Reading::Answer(Page::Native(Box::new(reply)))
            } else {
                Reading::Fault(Fault::Unknown)
            }
        }
        Reading::Fault(fault) => Reading::Fault(fault),
    }
}

fn read_native(bytes: &[u8]) -> Reading<native::Reply> {
    match native::Reply::parse(bytes) {
        Ok(native::Reply { error: Some(error), .. }) => Reading::Fault(match error.code {
            ErrorCode::ListingForbidden => Fault::ListingForbidden,
            // It may hold anything, and is told in the midst of a sentence.
            _ => Fault::Declined(error.message.escape_debug().take(200).collect()),
        }),
        Ok(reply) => Reading::Answer(reply),
        Err(error) => Reading::Fault(Fault::UndecodableNative(error)),
    }
}

/// How long a request is made: a registry answers at most three times as long over UDP, so as much as
/// a datagram may hold.
const REQUEST_BYTES: usize = native::MAX_DATAGRAM.div_ceil(native::MAX_AMPLIFICATION);

fn encode_native(operation: Operation) -> Vec<u8> {
    let mut line = native::Request::new(operation).to_bytes();
    // White space after a value means nothing in JSON.
    line.resize(line.len().max(REQUEST_BYTES - 1), b' ');
    line.push(b'\n');
    line
}
