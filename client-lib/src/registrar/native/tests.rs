//! What only our registry answers, from scripted ones.

use std::time::Duration;

use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::{
    Cursor, ErrorCode, Event, EventKind, Instance, Reply, Request, Service, Status,
};

use super::*;
use crate::Registries;
use crate::scripted::Scripted;

const LONG: Duration = Duration::from_secs(20);

fn asking(registry: &Scripted) -> Native {
    let registries = Registries::from(registry.addr());
    Registrar::builder(registries).timeout(LONG).build().native()
}

fn line(reply: &Reply) -> Vec<u8> {
    [&reply.to_bytes()[..], b"\n"].concat()
}

fn revision(number: u64) -> Revision {
    Revision { store: native::StoreId::new(7), number }
}

fn at(port: u16) -> Instance {
    Instance::at("127.0.0.1", Port::tcp(port).unwrap())
}

#[tokio::test]
async fn a_request_over_udp_is_as_long_as_a_full_answer_needs() {
    let reply = line(&Reply { changed: Some(3), ..Reply::new(revision(5)) });
    let mut registry = Scripted::udp(move |_| vec![reply.clone()]).await;
    let target = Target { port: Some(Port::tcp(1).unwrap()), ..Target::default() };
    let answer = asking(&registry).drain(target.clone()).await.unwrap();
    assert_eq!((answer.value, answer.revision), (3, Some(revision(5))));
    let (request, _) = registry.request().await;
    assert_eq!(request.len() * native::MAX_AMPLIFICATION, native::MAX_DATAGRAM);
    let told = Request::parse(&request).unwrap().operation;
    assert_eq!(told, Operation::Drain(target));
}

#[tokio::test]
async fn a_change_is_repeated_with_the_cookie_that_a_registry_asks_for() {
    let mut registry = Scripted::udp(|request| {
        let request = Request::parse(request).unwrap();
        // The second cookie shows that the first was too old.
        let cookie = match request.cookie.as_deref() {
            None => Some("first"),
            Some("first") => Some("second"),
            Some(_) => None,
        };
        let required = || Reply::error(ErrorCode::CookieRequired, "a cookie");
        vec![line(&match cookie {
            Some(cookie) => Reply { cookie: Some(cookie.to_owned()), ..required() },
            None => Reply { changed: Some(1), ..Reply::new(revision(5)) },
        })]
    })
    .await;
    let target = Target { port: Some(Port::tcp(1).unwrap()), ..Target::default() };
    assert_eq!(asking(&registry).drain(target.clone()).await.unwrap().value, 1);
    let (mut sources, mut cookies) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (request, from) = registry.request().await;
        assert!(request.len() * native::MAX_AMPLIFICATION >= native::MAX_DATAGRAM);
        let request = Request::parse(&request).unwrap();
        assert_eq!(request.operation, Operation::Drain(target.clone()));
        cookies.push(request.cookie);
        sources.push(from);
    }
    assert_eq!(cookies, [None, Some("first".to_owned()), Some("second".to_owned())]);
    assert!(sources.iter().all(|from| *from == sources[0]), "a cookie is for one port");
}

#[tokio::test]
async fn a_registry_that_never_takes_a_cookie_is_not_asked_for_ever() {
    let required = Reply::error(ErrorCode::CookieRequired, "a cookie");
    let reply = line(&Reply { cookie: Some("another".into()), ..required });
    let registry = Scripted::udp(move |_| vec![reply.clone()]).await;
    let registries = Registries::from(registry.addr());
    let timeout = Duration::from_millis(500);
    let native = Registrar::builder(registries).timeout(timeout).build().native();
    native.renew(LeaseId::new(1)).await.unwrap_err();
    assert!(registry.requests_len() < 12, "{}", registry.requests_len());
}

#[tokio::test]
async fn what_is_declined_says_why_at_once() {
    let reply = line(&Reply::error(ErrorCode::UnknownLease, "unknown lease"));
    let registry = Scripted::udp(move |_| vec![reply.clone()]).await;
    let started = std::time::Instant::now();
    let error = asking(&registry).renew(LeaseId::new(1)).await.unwrap_err();
    assert!(error.is_unknown_lease() && started.elapsed() < LONG / 4, "{error}");
    assert_eq!(error.to_string(), format!("{}: unknown lease", registry.addr()));
}

#[tokio::test]
async fn what_does_not_fit_a_datagram_comes_over_tcp() {
    // Both protocols of one registry have one port.
    let (udp, tcp) = loop {
        let short = line(&Reply { truncated: true, ..Reply::new(revision(1)) });
        let udp = Scripted::udp(move |_| vec![short.clone()]).await;
        let whole = |request: &[u8]| match Request::parse(request).unwrap().operation {
            Operation::Status => {
                let status = Status { instances: 9, ..Status::default() };
                line(&Reply { status: Some(Box::new(status)), ..Reply::new(revision(2)) })
            }
            _ => {
                let service = Service { name: "A".into(), instances: vec![at(4)] };
                line(&Reply { revision: Some(revision(2)), ..Reply::of(vec![service]) })
            }
        };
        match Scripted::tcp_at(udp.addr().port(), move |it| Some(vec![whole(it)])).await {
            Ok(tcp) => break (udp, tcp),
            Err(_taken) => {}
        }
    };
    let native = asking(&udp);
    assert_eq!(native.status().await.unwrap().value.instances, 9);
    let listed = native.list(Query::default()).await.unwrap().value;
    assert_eq!(listed[0].instances[0].endpoint.to_string(), "127.0.0.1:4");
    assert_eq!(tcp.requests_len(), 2);
    drop(udp);
}

#[tokio::test]
async fn what_is_forbidden_to_a_datagram_is_asked_over_a_connection() {
    // Both protocols of one registry have one port.
    let (mut udp, mut tcp) = loop {
        let forbidden = line(&Reply::error(ErrorCode::Forbidden, "no"));
        let udp = Scripted::udp(move |_| vec![forbidden.clone()]).await;
        let granted = line(&Reply { changed: Some(1), ..Reply::new(revision(2)) });
        match Scripted::tcp_at(udp.addr().port(), move |_| Some(vec![granted.clone()])).await {
            Ok(tcp) => break (udp, tcp),
            Err(_taken) => {}
        }
    };
    let target = Target { instance: Some(1), ..Target::default() };
    let answer = asking(&udp).drain(target).await.unwrap();
    assert_eq!((answer.value, answer.registry), (1, tcp.addr()));
    assert_eq!(udp.request().await.0, tcp.request().await.0);
    drop(tcp);
    let error = asking(&udp).release(None).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Forbidden), "{error}");
    assert!(error.to_string().starts_with("udp://"), "{error}");
}

#[tokio::test]
async fn pages_are_put_together() {
    let registry = Scripted::udp(|request| {
        let Operation::Resolve { page, .. } = Request::parse(request).unwrap().operation else {
            return vec![];
        };
        let place = page.after.map_or(0, |place| place.lease);
        let service =
            Service { name: "A".into(), instances: vec![at(u16::try_from(place).unwrap() + 1)] };
        let next = (place < 2).then_some(Cursor { service: 0, lease: place + 1 });
        vec![line(&Reply { next, truncated: next.is_some(), ..Reply::of(vec![service]) })]
    })
    .await;
    let name = ServiceName::new("a").unwrap();
    let told = asking(&registry).resolve(&name, Filter::default()).await.unwrap().value;
    let ports: Vec<_> = told.iter().map(|it| it.endpoint.port.to_tcp().unwrap()).collect();
    assert_eq!(ports, [1, 2, 3]);
}

/// A line of a watch.
fn told(number: u64, kind: EventKind, port: Option<u16>) -> Vec<u8> {
    let (name, instance) = (port.map(|_| "A".to_owned()), port.map(at));
    let event = Some(Box::new(Event { kind, name, instance }));
    line(&Reply { event, ..Reply::new(revision(number)) })
}

#[tokio::test]
async fn a_watch_reads_lines_however_they_come_and_tells_its_end() {
    let lines = [
        told(1, EventKind::Added, Some(1)),
        told(1, EventKind::Current, None),
        // A kind of a later version.
        told(1, EventKind::Unknown, None),
        told(2, EventKind::Removed, Some(1)),
    ]
    .concat();
    let registry = Scripted::tcp(move |request| {
        Some(match Request::parse(request).unwrap().operation {
            Operation::Watch { .. } => lines.chunks(7).map(<[u8]>::to_vec).collect(),
            _ => vec![line(&Reply::new(revision(1)))],
        })
    })
    .await;
    let mut watch = asking(&registry).watch(Some("a"), None).await.unwrap();
    let mut changes = Vec::new();
    let end = loop {
        match watch.changed().await {
            Ok(change) => changes.push(match change.kind {
                ChangeKind::Added(name, it) => format!("+{name} {}", it.endpoint.port),
                ChangeKind::Removed(name, it) => format!("-{name} {}", it.endpoint.port),
                other => format!("{other:?}"),
            }),
            Err(end) => break end,
        }
    };
    assert_eq!(changes, ["+A 1", "Current", "-A 1"]);
    assert!(matches!(end.fault, Fault::Closed), "{end}");
}

#[tokio::test]
async fn a_watch_that_is_declined_or_tells_nonsense_is_an_error() {
    let refusal = line(&Reply::error(ErrorCode::ListingForbidden, "no"));
    for (answer, expected) in [
        (refusal, Some(ErrorCode::ListingForbidden)),
        (line(&Reply::new(revision(1))), None),
        (b"{\"v\":1,\"event\":7}\n".to_vec(), None),
        (told(1, EventKind::Added, None), None),
    ] {
        let registry = Scripted::tcp(move |request| {
            let operation = Request::parse(request).unwrap().operation;
            let is_watch = matches!(operation, Operation::Watch { .. });
            let pong = line(&Reply::new(revision(1)));
            Some(vec![if is_watch { answer.clone() } else { pong }])
        })
        .await;
        let error = asking(&registry).watch(None, None).await.unwrap_err();
        assert_eq!(error.code(), expected, "{error}");
    }
}

#[test]
fn futures_may_move_between_threads() {
    fn check(_: impl Send) {}
    let native = Registrar::new(Registries::all_of([])).native();
    check(native.status());
    check(native.list(Query::default()));
    check(native.watch(None, None));
}

#[tokio::test]
async fn a_registry_is_known_by_what_it_answers() {
    let legacy = |request: &[u8]| {
        let is_native = native::is_native(request[0]);
        (!is_native).then(|| vec![b"\x02".to_vec()])
    };
    let both = |request: &[u8]| match native::is_native(request[0]) {
        true => Some(vec![line(&Reply::new(revision(1)))]),
        false => Some(vec![b"\x02".to_vec()]),
    };
    let registrar = |it: &Scripted| Registrar::builder(it.addr().into()).timeout(LONG).build();
    let udp = Scripted::udp(move |it| legacy(it).unwrap_or_default()).await;
    assert_eq!(registrar(&udp).protocol().await.unwrap().value, RegistryProtocol::Legacy);
    let udp = Scripted::udp(move |it| both(it).unwrap_or_default()).await;
    assert_eq!(registrar(&udp).protocol().await.unwrap().value, RegistryProtocol::Native);
    let mut tcp = Scripted::tcp(legacy).await;
    let asking = registrar(&tcp);
    assert_eq!(asking.protocol().await.unwrap().value, RegistryProtocol::Legacy);
    assert_eq!(asking.protocol().await.unwrap().value, RegistryProtocol::Legacy);
    let natively = [tcp.request().await, tcp.request().await, tcp.request().await]
        .iter()
        .filter(|(request, _)| native::is_native(request[0]))
        .count();
    assert_eq!(natively, 1, "the answer is remembered");
    let tcp = Scripted::tcp(both).await;
    assert_eq!(registrar(&tcp).protocol().await.unwrap().value, RegistryProtocol::Native);
}

/// A reply that a host makes up which has not seen the request.
fn forged(id: Option<u64>) -> Vec<u8> {
    line(&Reply { changed: Some(666), id, ..Reply::new(revision(9)) })
}

#[tokio::test]
async fn an_answer_to_another_request_is_ignored() {
    let mut registry = Scripted::udp(|request| {
        let id = Request::parse(request).unwrap().id.unwrap();
        let refusal = Reply::error(ErrorCode::Forbidden, "made up");
        let refusal = line(&Reply { id: Some(id ^ 1), ..refusal });
        let good = line(&Reply { changed: Some(3), ..Reply::new(revision(5)) });
        vec![forged(Some(id + 1)), refusal, b"\x02".to_vec(), b"{".to_vec(), good]
    })
    .await;
    let native = asking(&registry);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let answer = native.release(None).await.unwrap();
        assert_eq!((answer.value, answer.revision), (3, Some(revision(5))));
        let id = Request::parse(&registry.request().await.0).unwrap().id.unwrap();
        assert!(id <= native::MAX_REQUEST_ID && seen.insert(id), "{seen:?}");
    }
    let question = Question::native(Operation::Ping);
    assert!(!question.may_be_answered_by(&forged(None), 1), "no number is a wrong number");
    assert!(question.may_be_answered_by(&forged(question.id), 1));
    let all = seen.iter().fold(0, |bits, id| bits | id);
    assert!(all > native::MAX_REQUEST_ID / 2, "not a counter: {seen:?}");
}

/// RPyC's encoding has no numbers, so its answers count only once it was asked in.
#[tokio::test]
async fn an_answer_in_an_encoding_that_was_not_asked_in_is_ignored() {
    let registry = Scripted::udp(|request| match Request::parse(request) {
        Ok(_) => {
            let service = Service { name: "A".into(), instances: vec![at(4)] };
            vec![b"\x02".to_vec(), line(&Reply::of(vec![service]))]
        }
        Err(_) => vec![b"\x02".to_vec()],
    })
    .await;
    let registrar = Registrar::builder(registry.addr().into()).timeout(LONG).build();
    for _ in 0..20 {
        let found = registrar.resolve(&ServiceName::new("a").unwrap()).await.unwrap();
        assert_eq!(found[0].endpoint.to_string(), "127.0.0.1:4");
    }
}

#[tokio::test]
async fn a_watch_ignores_what_answers_another_request() {
    let registry = Scripted::tcp(|request| {
        let Request { id, operation, .. } = Request::parse(request).unwrap();
        if !matches!(operation, Operation::Watch { .. }) {
            return Some(vec![line(&Reply::new(revision(1)))]);
        }
        let id = id.unwrap();
        let stray = |id| {
            let event =
                Some(Box::new(Event { kind: EventKind::Reset, name: None, instance: None }));
            line(&Reply { event, id, ..Reply::new(revision(u64::MAX)) })
        };
        let event = Event { kind: EventKind::Current, name: None, instance: None };
        let good = Reply { event: Some(Box::new(event)), id: Some(id), ..Reply::new(revision(3)) };
        Some(vec![[stray(Some(id ^ 4)), line(&good)].concat()])
    })
    .await;
    let mut watch = asking(&registry).watch(Some("a"), None).await.unwrap();
    let change = watch.changed().await.unwrap();
    assert_eq!((change.revision, change.kind), (revision(3), ChangeKind::Current));
}

#[tokio::test]
async fn a_refusal_without_a_number_is_the_reason_if_no_answer_comes() {
    let question = Question::native(Operation::Ping);
    let refusal = line(&Reply::error(ErrorCode::BadRequest, "unknown op"));
    assert!(!question.may_be_answered_by(&refusal, 1));
    assert!(question.refusal_without_number(&refusal).is_some());
    assert!(question.refusal_without_number(&forged(None)).is_none());
    assert!(question.refusal_without_number(b"{").is_none());

    // A scripted registry would add the number.
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = RegistryAddr::new(Transport::Udp, socket.local_addr().unwrap()).unwrap();
    let answering = async {
        loop {
            let (_, from) = socket.recv_from(&mut [0; 2000]).await.unwrap();
            socket.send_to(&refusal, from).await.unwrap();
        }
    };
    let timeout = Duration::from_millis(300);
    let native = Registrar::builder(addr.into()).timeout(timeout).build().native();
    let error = tokio::select! {
        error = native.ping() => error.unwrap_err(),
        () = answering => unreachable!(),
    };
    assert_eq!(error.code(), Some(ErrorCode::BadRequest), "{error}");
}
