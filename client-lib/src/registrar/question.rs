//! Questions, and how to read the bytes that come back.

use rpyc_protocol::brine::DecodeError;
use rpyc_protocol::registry::reply::{self, Endpoint};
use rpyc_protocol::registry::{Names, Port, Request};
use rpyc_protocol::{Limits, ServiceName};

use crate::Fault;

/// A question to a registry, in every encoding that it may understand.
#[derive(Debug)]
pub(super) struct Question<A> {
    /// The requests, the preferred first. A registry answers those that it understands.
    pub(super) requests: Vec<Vec<u8>>,
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
        Self { requests: vec![encode(&Request::Query { name })], read: read_endpoints }
    }
}

impl Question<Vec<String>> {
    /// Which names are served, by anyone or from `host`?
    pub(super) fn list(host: Option<&str>) -> Self {
        Self { requests: vec![encode(&Request::List { host })], read: read_names }
    }
}

impl Question<()> {
    /// `names` are served on `port`: as many requests as it takes to keep each in one packet, since
    /// RPyC's registry reads no more.
    pub(super) fn register(names: &[ServiceName], port: &Port) -> Vec<Self> {
        let request = encode(&Request::Register { names: Names::from(names), port: port.clone() });
        if request.len() <= MAX_REQUEST || names.len() < 2 {
            return vec![Self { requests: vec![request], read: read_acknowledgement }];
        }
        let (left, right) = names.split_at(names.len() / 2);
        let mut questions = Self::register(left, port);
        questions.extend(Self::register(right, port));
        questions
    }

    /// Nothing is served on `port` any more.
    pub(super) fn unregister(port: &Port) -> Self {
        let request = encode(&Request::Unregister { port: port.clone() });
        Self { requests: vec![request], read: read_acknowledgement }
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
