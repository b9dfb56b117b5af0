//! Questions, and how to read the bytes that come back.

use rpyc_protocol::brine::DecodeError;
use rpyc_protocol::registry::reply::{self, Endpoint};
use rpyc_protocol::registry::{Names, Port, Request, native};
use rpyc_protocol::{Limits, ServiceName};

use crate::Fault;

/// A question to a registry, in every encoding that it may understand.
#[derive(Debug)]
pub(super) struct Question<A> {
    /// The requests, the preferred first. A registry answers those that it understands.
    pub(super) requests: Vec<Vec<u8>>,
    /// The number of the native request, which its answer repeats.
    pub(super) id: Option<u64>,
    /// Reads what came back.
    pub(super) read: fn(&[u8]) -> Reading<A>,
}

/// What the bytes that came back are.
#[derive(Debug)]
pub(super) enum Reading<A> {
    /// The answer.
    Answer(A),
    /// An answer to do with unless a better one is on its way.
    Provisional(A),
    /// Not the answer that was wanted.
    Fault(Fault),
    /// The request must be repeated with this cookie.
    Cookie(String),
}

impl Question<Vec<Endpoint>> {
    /// The servers of `name`.
    pub(super) fn query(name: &str) -> Self {
        Self { requests: vec![encode(&Request::Query { name })], id: None, read: read_endpoints }
    }
}

impl Question<Vec<String>> {
    /// Which names are served, by anyone or from `host`?
    pub(super) fn list(host: Option<&str>) -> Self {
        Self { requests: vec![encode(&Request::List { host })], id: None, read: read_names }
    }
}

impl Question<()> {
    /// `names` are served on `port`: as many requests as it takes to keep each in one packet, since
    /// RPyC's registry reads no more.
    pub(super) fn register(names: &[ServiceName], port: &Port) -> Vec<Self> {
        let request = encode(&Request::Register { names: Names::from(names), port: port.clone() });
        if request.len() <= MAX_REQUEST || names.len() < 2 {
            return vec![Self { requests: vec![request], id: None, read: read_acknowledgement }];
        }
        let (left, right) = names.split_at(names.len() / 2);
        let mut questions = Self::register(left, port);
        questions.extend(Self::register(right, port));
        questions
    }

    /// Nothing is served on `port` any more.
    pub(super) fn unregister(port: &Port) -> Self {
        let request = encode(&Request::Unregister { port: port.clone() });
        Self { requests: vec![request], id: None, read: read_acknowledgement }
    }
}

impl<A> Question<A> {
    /// Whether a datagram may be an answer to the first `sent` of the requests.
    ///
    /// A native one repeats the number of the request, which hosts that have not seen the request
    /// cannot guess. One in RPyC's encoding comes only after a request in that encoding.
    pub(super) fn may_be_answered_by(&self, bytes: &[u8], sent: usize) -> bool {
        let is_native = |bytes: &[u8]| bytes.first().is_some_and(|&first| native::is_native(first));
        if is_native(bytes) {
            return self.id.is_some() && native::Reply::id_of(bytes) == self.id;
        }
        self.requests.iter().take(sent).any(|request| !is_native(request))
    }

    /// The refusal in an answer without a number. A registry that cannot read a request cannot
    /// repeat its number either, such as one to which the operation is unknown. Any host can make
    /// up such an answer, so it only explains why no other comes.
    pub(super) fn refusal_without_number(&self, bytes: &[u8]) -> Option<Fault> {
        let is_native = bytes.first().is_some_and(|&first| native::is_native(first));
        let is_numbered = native::Reply::id_of(bytes).is_some();
        match (is_native && !is_numbered).then(|| (self.read)(bytes)) {
            Some(Reading::Fault(fault @ Fault::Declined { .. })) if self.id.is_some() => {
                Some(fault)
            }
            _ => None,
        }
    }

    /// Whether an answer that came over a connection is for another request. The connection proves
    /// who answers, so an answer without a number counts, such as that to a request which the
    /// registry could not read.
    pub(super) fn is_of_another(&self, bytes: &[u8]) -> bool {
        let is_native = bytes.first().is_some_and(|&first| native::is_native(first));
        is_native && native::Reply::id_of(bytes).is_some_and(|id| Some(id) != self.id)
    }
}

/// Longest request in bytes: what fits into one packet of every network.
const MAX_REQUEST: usize = 1200;

pub(super) fn read_endpoints(bytes: &[u8]) -> Reading<Vec<Endpoint>> {
    Reading::of_many(reply::decode_endpoints(bytes))
}

pub(super) fn read_names(bytes: &[u8]) -> Reading<Vec<String>> {
    match reply::decode_names(bytes) {
        Ok(None) => Reading::Fault(Fault::ListingForbidden),
        Ok(Some(names)) => Reading::of_many(Ok(names)),
        Err(error) => Reading::Fault(Fault::Undecodable(error)),
    }
}

fn read_acknowledgement(bytes: &[u8]) -> Reading<()> {
    if reply::is_acknowledgement(bytes) {
        Reading::Answer(())
    } else {
        Reading::Fault(Fault::NotAcknowledged)
    }
}

impl<A> Reading<Vec<A>> {
    /// An empty answer counts as unknown.
    fn of_many(decoded: Result<Vec<A>, DecodeError>) -> Self {
        match decoded {
            Ok(many) if many.is_empty() => Self::Fault(Fault::Unknown),
            Ok(many) => Self::Answer(many),
            Err(error) => Self::Fault(Fault::Undecodable(error)),
        }
    }
}

/// The longest answer over a stream, and what else bounds it.
pub(super) const LIMITS: Limits = Limits::REPLY;

pub(super) fn encode(request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode(&mut bytes).expect("only a text of 4 GiB has no encoding");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_registered_in_several_packets() {
        let names: Vec<_> =
            (0..64).map(|i| ServiceName::new(&format!("{i:0>200}")).unwrap()).collect();
        let port = Port::tcp(18861).unwrap();
        let mut registered = Vec::new();
        for question in Question::register(&names, &port) {
            let [request] = &question.requests[..] else { panic!("one encoding") };
            assert!(request.len() <= MAX_REQUEST);
            let Ok(Request::Register { names, .. }) = Request::decode(request, &Limits::REQUEST)
            else {
                panic!("a registration")
            };
            registered.extend(names.map(str::to_owned));
        }
        assert_eq!(registered, names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(Question::register(&names[..1], &port).len(), 1);
    }
}
