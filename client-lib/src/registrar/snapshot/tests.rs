//! Snapshots of scripted registries: ours in pages, RPyC's own name by name.

use std::time::Duration;

use rpyc_protocol::Limits;
use rpyc_protocol::brine::Writer;
use rpyc_protocol::registry::native::{self, Cursor, ErrorCode};
use rpyc_protocol::registry::{Port, Request, reply};

use super::*;
use crate::Registries;
use crate::scripted::Scripted;

const LONG: Duration = Duration::from_secs(20);

type Table = [(&'static str, &'static [u16])];

const TABLE: &Table = &[("FOO", &[1, 2, 3]), ("BAR", &[4]), ("GONE", &[])];

fn port(number: u16) -> Port {
    Port::tcp(number).unwrap()
}

/// What RPyC's own registry answers; nothing to what it does not understand.
fn legacy(table: &Table, request: &[u8]) -> Option<Vec<u8>> {
    let mut answer = Vec::new();
    let mut out = Writer::new(&mut answer);
    match Request::decode(request, &Limits::REQUEST).ok()? {
        Request::List { .. } => {
            out.tuple(table.len()).unwrap();
            for (name, _) in table {
                out.str(name).unwrap();
            }
        }
        Request::Query { name } => {
            let ports =
                table.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, ports)| ports);
            out.tuple(ports.len()).unwrap();
            for &number in ports {
                out.tuple(2).unwrap().str("127.0.0.1").unwrap();
                port(number).encode(&mut out).unwrap();
            }
        }
        _ => return None,
    }
    Some(answer)
}

/// What our registry answers to a native request: one instance a page.
fn native(table: &Table, request: &[u8]) -> Option<Vec<u8>> {
    let request = native::Request::parse(request).ok()?;
    let all = table.iter().flat_map(|&(name, ports)| ports.iter().map(move |&port| (name, port)));
    let (wanted, page) = match request.operation {
        Operation::Resolve { name, page, .. } => (name, page),
        Operation::List { page, .. } => (String::new(), page),
        _ => return None,
    };
    let after = page.after.map_or(0, |place| place.lease);
    let mut rest = all
        .filter(|(name, _)| wanted.is_empty() || *name == wanted)
        .skip(usize::try_from(after).unwrap());
    let page = rest.next().map(|(name, number)| native::Service {
        name: name.to_owned(),
        instances: vec![native::Instance {
            age_ms: 1500,
            left_ms: 238_500,
            ..native::Instance::at("127.0.0.1", port(number))
        }],
    });
    let next = rest.next().map(|_| Cursor { service: 0, lease: after + 1 });
    let reply = native::Reply { next, ..native::Reply::of(page.into_iter().collect()) };
    Some([&reply.to_bytes()[..], b"\n"].concat())
}

fn asking(registry: &Scripted) -> Registrar {
    Registrar::builder(Registries::from(registry.addr())).timeout(LONG).build()
}

/// `NAME port[+age][-left]` for each instance.
fn shown(services: &[Service]) -> Vec<String> {
    let mut lines = Vec::new();
    for Service { name, instances } in services {
        for Instance { endpoint, age, left, .. } in instances {
            let known = if age.is_some() && left.is_some() { " known" } else { "" };
            lines.push(format!("{name} {}{known}", endpoint.port));
        }
    }
    lines
}

async fn check(registry: &Scripted, known: &str) {
    let registrar = asking(registry);
    let snapshot = registrar.services(None).await.unwrap();
    let expected = ["FOO 1", "FOO 2", "FOO 3", "BAR 4"].map(|line| format!("{line}{known}"));
    assert_eq!(shown(&snapshot.services), expected);
    assert_eq!(snapshot.services.len(), 2, "pages of one name are put together");
    assert_eq!(snapshot.registry, registry.addr());
    let instances = registrar.resolve(&ServiceName::new("foo").unwrap()).await.unwrap();
    assert_eq!(instances, snapshot.services[0].instances);
    let error = registrar.resolve(&ServiceName::new("nobody").unwrap()).await.unwrap_err();
    assert!(error.is_unknown_name(), "{error}");
}

#[tokio::test]
async fn our_registry_tells_ages_page_by_page() {
    let both = |request: &[u8]| native(TABLE, request).or_else(|| legacy(TABLE, request));
    check(&Scripted::udp(move |request| both(request).into_iter().collect()).await, " known").await;
    check(&Scripted::tcp(move |request| both(request).map(|answer| vec![answer])).await, " known")
        .await;
}

#[tokio::test]
async fn rpycs_own_registry_is_asked_name_by_name() {
    let own = |request: &[u8]| legacy(TABLE, request);
    check(&Scripted::udp(move |request| own(request).into_iter().collect()).await, "").await;
    check(&Scripted::tcp(move |request| own(request).map(|answer| vec![answer])).await, "").await;
}

#[tokio::test]
async fn a_legacy_registry_over_tcp_is_asked_natively_once() {
    let mut registry =
        Scripted::tcp(|request| legacy(TABLE, request).map(|answer| vec![answer])).await;
    let registrar = asking(&registry);
    for _ in 0..3 {
        registrar.services(None).await.unwrap();
    }
    assert_eq!(encodings(&mut registry).await.0, 1);
}

/// How many of the requests that a registry has seen are native, and how many are not.
async fn encodings(registry: &mut Scripted) -> (usize, usize) {
    let (mut natively, mut others) = (0, 0);
    while registry.requests_len() > 0 {
        let (request, _) = registry.request().await;
        *(if native::is_native(request[0]) { &mut natively } else { &mut others }) += 1;
    }
    (natively, others)
}

#[tokio::test]
async fn our_registry_is_not_asked_in_rpycs_encoding_as_well() {
    let mut registry = Scripted::udp(|request| native(TABLE, request).into_iter().collect()).await;
    asking(&registry).resolve(&ServiceName::new("bar").unwrap()).await.unwrap();
    assert_eq!(encodings(&mut registry).await, (1, 0));
}

/// Answers its first native request, leaves `lost` of them without an answer, and goes on.
fn lossy(lost: usize) -> impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static {
    let mut natively = 0;
    move |request| {
        let answer = native(TABLE, request);
        natively += usize::from(answer.is_some());
        if answer.is_some() && (2..2 + lost).contains(&natively) {
            return None;
        }
        answer.or_else(|| legacy(TABLE, request))
    }
}

#[tokio::test]
async fn a_registry_known_to_be_ours_is_asked_natively_until_it_answers() {
    let bar = ServiceName::new("bar").unwrap();
    let mut script = lossy(2);
    let registry = Scripted::udp(move |request| script(request).into_iter().collect()).await;
    let registrar = asking(&registry);
    for _ in 0..2 {
        let found = registrar.resolve(&bar).await.unwrap();
        assert!(found[0].age.is_some(), "it returns ages, so it was asked natively");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_known_to_be_ours_may_be_slow_over_tcp() {
    let bar = ServiceName::new("bar").unwrap();
    let mut asked = 0;
    let registry = Scripted::tcp(move |request| {
        asked += 1;
        if asked == 2 {
            // Not a wait for a state: longer than another registry is given.
            std::thread::sleep(Duration::from_millis(800));
        }
        native(TABLE, request).or_else(|| legacy(TABLE, request)).map(|answer| vec![answer])
    })
    .await;
    let registrar = asking(&registry);
    for _ in 0..2 {
        let found = registrar.resolve(&bar).await.unwrap();
        assert!(found[0].age.is_some(), "it returns ages, so it was asked natively");
    }
}

#[tokio::test]
async fn a_registry_that_was_replaced_by_rpycs_own_is_believed() {
    let bar = ServiceName::new("bar").unwrap();
    let (mut over_udp, mut over_tcp) = (lossy(100), lossy(100));
    for registry in [
        Scripted::udp(move |request| over_udp(request).into_iter().collect()).await,
        Scripted::tcp(move |request| over_tcp(request).map(|answer| vec![answer])).await,
    ] {
        let registrar = Registrar::builder(Registries::from(registry.addr()));
        let registrar = registrar.timeout(Duration::from_secs(2)).build();
        assert!(registrar.resolve(&bar).await.unwrap()[0].age.is_some());
        for _ in 0..2 {
            assert!(registrar.resolve(&bar).await.unwrap()[0].age.is_none());
        }
    }
}

const PORTS: &[u16] = &{
    let mut ports = [20_000; 200];
    let mut at = 1;
    while at < ports.len() {
        ports[at] = ports[at - 1] + 1;
        at += 1;
    }
    ports
};

#[tokio::test]
async fn an_answer_that_may_be_cut_is_asked_for_again_natively() {
    // Our registry's answer to RPyC's clients, which begins with the last instance.
    let answer = |request: &[u8]| {
        let table = [("FOO", PORTS)];
        native(&table, request).or_else(|| {
            let cut: Vec<_> = PORTS.iter().rev().take(73).copied().collect();
            legacy(&[("FOO", cut.leak())], request)
        })
    };
    let foo = ServiceName::new("foo").unwrap();
    for registry in [
        Scripted::udp(move |request| answer(request).into_iter().collect()).await,
        Scripted::tcp(move |request| answer(request).map(|answer| vec![answer])).await,
    ] {
        let registrar = asking(&registry);
        let found = registrar.discover(&foo).await.unwrap();
        let ports: Vec<_> = found.iter().map(|it| it.port.clone()).collect();
        let turn = PORTS.iter().rev().take(73).chain(&PORTS[..200 - 73]);
        assert_eq!(ports, turn.map(|&it| port(it)).collect::<Vec<_>>());
        assert_eq!(registrar.recommended(&foo).await.unwrap().len(), 73);
    }
}

#[tokio::test]
async fn what_rpycs_own_registry_tells_is_all_of_it_at_any_length() {
    for count in [60, 73, 200] {
        let answer = move |request: &[u8]| legacy(&[("FOO", &PORTS[..count])], request);
        for registry in [
            Scripted::udp(move |request| answer(request).into_iter().collect()).await,
            Scripted::tcp(move |request| answer(request).map(|answer| vec![answer])).await,
        ] {
            let foo = ServiceName::new("foo").unwrap();
            assert_eq!(asking(&registry).discover(&foo).await.unwrap().len(), count);
        }
    }
}

#[tokio::test]
async fn a_host_filter_leaves_out_other_hosts() {
    let registry = Scripted::udp(|request| legacy(TABLE, request).into_iter().collect()).await;
    let registrar = asking(&registry);
    assert_eq!(registrar.services(Some("127.0.0.1")).await.unwrap().services.len(), 2);
    assert!(registrar.services(Some("10.0.0.1")).await.unwrap().services.is_empty());
}

#[tokio::test]
async fn a_refusal_in_either_encoding_is_forbidden_listing() {
    let refusal = native::Reply::error(ErrorCode::ListingForbidden, "no").to_bytes();
    for answer in [reply::FORBIDDEN.to_vec(), refusal] {
        let registry = Scripted::udp(move |_| vec![answer.clone()]).await;
        let error = asking(&registry).services(None).await.unwrap_err();
        assert!(error.is_listing_forbidden(), "{error}");
    }
}

#[tokio::test]
async fn a_version_that_is_not_spoken_falls_back() {
    let both = |request: &[u8]| match native::Request::parse(request) {
        Ok(_) => Some(native::Reply::error(ErrorCode::UnsupportedVersion, "a\nb").to_bytes()),
        Err(_) => legacy(TABLE, request),
    };
    check(&Scripted::udp(move |request| both(request).into_iter().collect()).await, "").await;
    check(&Scripted::tcp(move |request| both(request).map(|answer| vec![answer])).await, "").await;

    let only_declines = Scripted::udp(move |request| {
        both(request).filter(|answer| native::is_native(answer[0])).into_iter().collect()
    })
    .await;
    let error = asking(&only_declines).services(None).await.unwrap_err();
    assert!(error.to_string().contains(r"declined the request: a\nb"), "{error}");
}

#[tokio::test]
async fn a_registry_that_does_not_get_on_is_given_up() {
    let stuck = |_: &[u8]| {
        let next = Some(Cursor { service: 1, lease: 1 });
        vec![native::Reply { next, ..native::Reply::of(vec![]) }.to_bytes(), b"\n".to_vec()]
    };
    let registry = Scripted::tcp(move |request| Some(stuck(request))).await;
    let error = asking(&registry).services(None).await.unwrap_err();
    assert!(matches!(error, LookupError::Undecodable(_)), "{error}");
    // An answer that does not fit a datagram is fetched over TCP, where nothing listens here.
    let registry = Scripted::udp(move |request| stuck(request)[..1].to_vec()).await;
    let error = asking(&registry).services(None).await.unwrap_err();
    assert!(error.to_string().contains("tcp://127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn nothing_at_all_is_an_empty_snapshot() {
    for answer in [b"\x02".to_vec(), native::Reply::of(vec![]).to_bytes()] {
        let registry = Scripted::udp(move |_| vec![answer.clone()]).await;
        let snapshot = asking(&registry).services(None).await.unwrap();
        assert!(snapshot.services.is_empty());
        assert_eq!(snapshot.registry, registry.addr());
    }
}

#[test]
fn futures_may_move_between_threads() {
    fn check(_: impl Send) {}
    let registrar = Registrar::new(Registries::all_of([]));
    check(registrar.services(None));
    check(registrar.resolve(&ServiceName::new("foo").unwrap()));
}
