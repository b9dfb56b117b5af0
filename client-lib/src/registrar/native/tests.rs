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
