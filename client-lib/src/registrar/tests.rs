//! The registrar against scripted registries, over loopback.

use rpyc_protocol::registry::reply::ACKNOWLEDGEMENT;

use super::*;
use crate::Transport;
use crate::scripted::{Deserted, Scripted};

/// Captured from rpyc 6.0.2: `(("127.0.0.1", 18861), ("127.0.0.1", 1234))`.
const TWO: &[u8] =
    b"\x11\x11\x08\x0e\x09127.0.0.1\x16\x0518861\x11\x08\x0e\x09127.0.0.1\x16\x041234";
/// `("FOO", "BAR")`.
const NAMES: &[u8] = b"\x11\x08\x0cFOO\x08\x0cBAR";
const EMPTY: &[u8] = b"\x02";
const FORBIDDEN: &[u8] = b"\x00";

/// Long enough for a busy machine; nothing waits this long when all is well.
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

fn foo() -> ServiceName {
    ServiceName::new("foo").unwrap()
}

fn port() -> Port {
    Port::tcp(18861).unwrap()
}

fn asking(registries: &[RegistryAddr], timeout: Duration) -> Registrar {
    Registrar::builder(Registries::all_of(registries.iter().cloned())).timeout(timeout).build()
}

/// A registry that always gives the same answer, over either transport.
async fn answering(transport: Transport, answer: &'static [u8]) -> Scripted {
    match transport {
        Transport::Tcp | Transport::Unix => {
            Scripted::tcp(move |_| Some(vec![answer.to_vec()])).await
        }
        Transport::Udp => Scripted::udp(move |_| vec![answer.to_vec()]).await,
    }
}

async fn silent(transport: Transport) -> Scripted {
    match transport {
        Transport::Tcp | Transport::Unix => Scripted::tcp(|_| None).await,
        Transport::Udp => Scripted::udp(|_| vec![]).await,
    }
}

const BOTH: [Transport; 2] = [Transport::Udp, Transport::Tcp];

fn shown(endpoints: &[Endpoint]) -> Vec<String> {
    endpoints.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_question_has_the_bytes_of_rpyc() {
    for transport in BOTH {
        let mut registry = answering(transport, TWO).await;
        let found = asking(&[registry.addr()], LONG).discover(&foo()).await.unwrap();
        assert_eq!(shown(&found), ["127.0.0.1:18861", "127.0.0.1:1234"]);
        let (request, _) = registry.request().await;
        assert_eq!(request, b"\x12\x08\x0dRPYC\x08\x0e\x05QUERY\x10\x08\x0cFOO");

        let mut registry = answering(transport, NAMES).await;
        let registrar = asking(&[registry.addr()], LONG);
        assert_eq!(registrar.list(Some("127.0.0.1")).await.unwrap(), ["FOO", "BAR"]);
        let (request, _) = registry.request().await;
        assert_eq!(request, b"\x12\x08\x0dRPYC\x08\x0dLIST\x10\x10\x08\x0e\x09127.0.0.1");

        let mut registry = answering(transport, ACKNOWLEDGEMENT).await;
        let registrar = asking(&[registry.addr()], LONG);
        let acknowledged = registrar.register(&[foo()], &port()).await.unwrap();
        let (request, from) = registry.request().await;
        assert_eq!(
            request,
            b"\x12\x08\x0dRPYC\x08\x0e\x08REGISTER\x11\x10\x08\x0cFOO\x16\x0518861"
        );
        assert_eq!(acknowledged[0].source, from, "the source is the address that was used");
        assert_eq!(acknowledged[0].registry, registry.addr());
        registrar.unregister(&port()).await.unwrap();
        let (request, _) = registry.request().await;
        assert_eq!(request, b"\x12\x08\x0dRPYC\x08\x0e\x0aUNREGISTER\x10\x16\x0518861");
    }
}

#[tokio::test]
async fn a_lost_datagram_is_sent_again() {
    let mut left_to_lose = 2;
    let mut registry = Scripted::udp(move |_| {
        if left_to_lose == 0 {
            return vec![TWO.to_vec()];
        }
        left_to_lose -= 1;
        vec![]
    })
    .await;
    asking(&[registry.addr()], LONG).discover(&foo()).await.unwrap();
    let first = registry.request().await;
    assert_eq!(registry.request().await, first, "the same bytes from the same socket");
}

#[tokio::test]
async fn an_answer_in_pieces_is_put_together() {
    let registry = Scripted::tcp(|_| Some(TWO.iter().map(|&byte| vec![byte]).collect())).await;
    let found = asking(&[registry.addr()], LONG).discover(&foo()).await.unwrap();
    assert_eq!(found.len(), 2);
}

#[tokio::test]
async fn silence_is_no_reply_after_the_timeout() {
    for transport in BOTH {
        let registry = silent(transport).await;
        let error = asking(&[registry.addr()], SHORT).discover(&foo()).await.unwrap_err();
        assert!(matches!(error, LookupError::NoReply(_)), "{error}");
        let waited = error.attempts().waited();
        assert!(waited >= SHORT && waited < LONG, "{waited:?}");
        let text = error.to_string();
        assert!(text.contains(&format!("{} (no reply)", registry.addr())), "{text}");
        assert!(text.contains("RPYC_REGISTRY"), "{text}");
    }
}

#[tokio::test]
async fn a_deserted_port_is_told_at_once() {
    for transport in BOTH {
        let deserted = Deserted::new(transport);
        let addr = deserted.addr();
        let registrar = asking(std::slice::from_ref(&addr), LONG);
        let error = registrar.discover(&foo()).await.unwrap_err();
        assert!(matches!(error, LookupError::NoRegistry(_)), "{error}");
        assert!(error.to_string().contains(&format!("{addr} (nothing listens there)")), "{error}");
        assert!(error.attempts().waited() < LONG / 4);
        let error = registrar.register(&[foo()], &port()).await.unwrap_err();
        assert!(matches!(error, RegisterError::NoRegistry(_)), "{error}");
        assert!(!error.may_have_registered());
    }
}

#[tokio::test]
async fn the_next_registry_is_asked_when_the_first_fails_or_is_silent() {
    for transport in BOTH {
        let registry = answering(transport, TWO).await;
        let silent = silent(transport).await;
        let deserted = Deserted::new(transport);
        for first in [deserted.addr(), silent.addr()] {
            let registrar = asking(&[first, registry.addr()], LONG);
            assert_eq!(registrar.discover(&foo()).await.unwrap().len(), 2);
        }
    }
}

#[tokio::test]
async fn the_first_registry_alone_is_asked_when_it_knows() {
    let first = answering(Transport::Udp, TWO).await;
    let second = answering(Transport::Udp, TWO).await;
    asking(&[first.addr(), second.addr()], LONG).discover(&foo()).await.unwrap();
    assert_eq!(second.requests_len(), 0);
}

#[tokio::test]
async fn an_empty_answer_is_asked_on() {
    for transport in BOTH {
        let empty = answering(transport, EMPTY).await;
        let knowing = answering(transport, TWO).await;
        let registrar = asking(&[empty.addr(), knowing.addr()], LONG);
        assert_eq!(registrar.discover(&foo()).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_name_is_unknown_when_nobody_knows_it_and_the_silent_are_told() {
    for transport in BOTH {
        let empty = answering(transport, EMPTY).await;
        let silent = silent(transport).await;
        let registrar = asking(&[empty.addr(), silent.addr()], SHORT);
        let error = registrar.discover(&foo()).await.unwrap_err();
        assert!(error.is_unknown_name(), "{error}");
        let text = error.to_string();
        assert!(text.starts_with("no server of FOO is registered: "), "{text}");
        assert!(text.contains(&format!("{} (no such service)", empty.addr())), "{text}");
        assert!(text.contains(&format!("{} (no reply)", silent.addr())), "{text}");

        let registrar = asking(&[empty.addr()], LONG);
        let error = registrar.discover(&foo()).await.unwrap_err();
        assert!(error.attempts().waited() < LONG / 4, "one registry's word is enough");
        assert_eq!(registrar.list(None).await.unwrap(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_forbidden_listing_is_told_unless_another_registry_lists() {
    for transport in BOTH {
        let forbidding = answering(transport, FORBIDDEN).await;
        let listing = answering(transport, NAMES).await;
        let error = asking(&[forbidding.addr()], LONG).list(None).await.unwrap_err();
        assert!(error.is_listing_forbidden(), "{error}");
        let registrar = asking(&[forbidding.addr(), listing.addr()], LONG);
        assert_eq!(registrar.list(None).await.unwrap(), ["FOO", "BAR"]);
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_told() {
    for transport in BOTH {
        for garbage in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"\x08\x0b\x4f\x4b", b"\x11\x08"] {
            let registry = answering(transport, garbage).await;
            let registrar = asking(&[registry.addr()], LONG);
            let error = registrar.discover(&foo()).await.unwrap_err();
            assert!(matches!(error, LookupError::Undecodable(_)), "{transport} {error}");
        }
        let registry = answering(transport, NAMES).await;
        let error = asking(&[registry.addr()], LONG).register(&[foo()], &port()).await.unwrap_err();
        assert!(matches!(error, RegisterError::NotAcknowledged(_)), "{error}");
    }
}

#[tokio::test]
async fn a_good_answer_after_a_stray_datagram_counts() {
    let registry = Scripted::udp(|_| vec![b"stray".to_vec(), TWO.to_vec()]).await;
    let found = asking(&[registry.addr()], LONG).discover(&foo()).await.unwrap();
    assert_eq!(found.len(), 2);
}

#[tokio::test]
async fn a_connection_closed_without_a_word_is_told() {
    let registry = Scripted::tcp(|_| Some(vec![])).await;
    let error = asking(&[registry.addr()], LONG).discover(&foo()).await.unwrap_err();
    assert!(matches!(error, LookupError::Refused(_)), "{error}");
    assert!(error.to_string().contains("closed the connection without an answer"), "{error}");
}

#[tokio::test]
async fn all_listed_registries_are_told_and_one_acknowledgement_is_success() {
    for transport in BOTH {
        let first = answering(transport, ACKNOWLEDGEMENT).await;
        let second = answering(transport, ACKNOWLEDGEMENT).await;
        let deserted = Deserted::new(transport);
        let addrs = [first.addr(), deserted.addr(), second.addr()];
        let registrar = asking(&addrs, LONG);
        let acknowledged = registrar.register(&[foo()], &port()).await.unwrap();
        let by: Vec<_> = acknowledged.iter().map(|ack| ack.registry.clone()).collect();
        assert_eq!(by, [first.addr(), second.addr()]);
    }
}

#[tokio::test]
async fn one_of_several_equal_registries_is_told() {
    let first = answering(Transport::Udp, ACKNOWLEDGEMENT).await;
    let second = answering(Transport::Udp, ACKNOWLEDGEMENT).await;
    let deserted = Deserted::new(Transport::Udp);
    let registries = Registries::any_of([deserted.addr(), first.addr(), second.addr()]);
    let registrar = Registrar::builder(registries).timeout(LONG).build();
    let acknowledged = registrar.register(&[foo()], &port()).await.unwrap();
    assert_eq!(acknowledged.len(), 1);
    assert_eq!(acknowledged[0].registry, first.addr());
    assert_eq!(second.requests_len(), 0);
}

#[tokio::test]
async fn requests_leave_from_the_chosen_source() {
    // All of 127/8 is this machine's on Linux only.
    if !cfg!(target_os = "linux") {
        return;
    }
    for transport in BOTH {
        let mut registry = answering(transport, ACKNOWLEDGEMENT).await;
        let registrar = Registrar::builder(registry.addr().into())
            .source("127.0.0.2:9".parse().unwrap())
            .timeout(LONG)
            .build();
        let acknowledged = registrar.register(&[foo()], &port()).await.unwrap();
        let (_, from) = registry.request().await;
        assert_eq!(from.ip().to_string(), "127.0.0.2");
        assert_eq!(acknowledged[0].source, from);

        let registrar = Registrar::builder(registry.addr().into())
            .source("203.0.113.1:0".parse().unwrap())
            .timeout(LONG)
            .build();
        let error = registrar.register(&[foo()], &port()).await.unwrap_err();
        assert!(matches!(error, RegisterError::NoRegistry(_)), "{error}");
        assert!(error.to_string().contains("chosen source"), "{error}");
    }
}

#[tokio::test]
async fn a_host_name_is_resolved() {
    let registry = answering(Transport::Udp, TWO).await;
    let addr = format!("localhost:{}", registry.addr().port()).parse().unwrap();
    assert_eq!(asking(&[addr], LONG).discover(&foo()).await.unwrap().len(), 2);
    let registrar = asking(&["no-such-host.invalid".parse().unwrap()], LONG);
    let error = registrar.discover(&foo()).await.unwrap_err();
    assert!(matches!(error, LookupError::NoRegistry(_)), "{error}");
    assert!(error.to_string().contains("cannot resolve the host name"), "{error}");
}

#[tokio::test]
async fn no_registries_at_all_is_an_error() {
    let error = asking(&[], LONG).discover(&foo()).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot reach a registry: none was given"), "{error}");
    assert!(asking(&[], LONG).register(&[foo()], &port()).await.is_err());
}

#[test]
fn futures_may_move_between_threads() {
    fn check(_: impl Send) {}
    let registrar = asking(&[], LONG);
    let (foo, port) = (foo(), port());
    check(registrar.discover(&foo));
    check(registrar.list(None));
    check(registrar.register(&[], &port));
    check(registrar.unregister(&port));
}
