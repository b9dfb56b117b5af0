//! Sockets that are bound, shared and refused.

use super::*;

fn udp(sockets: usize) -> Vec<PlannedListener> {
    vec![PlannedListener::Udp { sockets }]
}

fn plan(hosts: &[&str]) -> Plan {
    let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
    let listeners = [udp(1), vec![PlannedListener::Tcp]].concat();
    Plan { hosts, port: 0, needs_ipv6: false, listeners }
}

#[tokio::test]
async fn all_sockets_share_one_port() {
    let bound = bind(&plan(&["127.0.0.1", "127.0.0.2"]), &Interfaces::default()).unwrap();
    let mut ports: Vec<_> =
        bound.udp.iter().flatten().map(|pair| pair.receiver.local_addr().unwrap().port()).collect();
    ports.extend(bound.tcp.iter().map(|listener| listener.local_addr().unwrap().port()));
    assert_eq!(ports.len(), 4);
    assert!(ports.iter().all(|port| *port == ports[0] && *port != 0), "{ports:?}");
}

#[tokio::test]
async fn an_address_in_use_is_refused_and_named() {
    let first = bind(&plan(&["127.0.0.1"]), &Interfaces::default()).unwrap();
    let taken = first.tcp[0].local_addr().unwrap();
    let both = plan(&["127.0.0.1"]).listeners;
    for (listeners, transport) in [(both, "udp"), (vec![PlannedListener::Tcp], "tcp")] {
        let second = Plan { port: taken.port(), listeners, ..plan(&["127.0.0.1"]) };
        let error = bind(&second, &Interfaces::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {transport}://{taken}"));
        assert_eq!((error.address(), error.kind()), (Some(taken), io::ErrorKind::AddrInUse));
    }
}

#[cfg(all(target_os = "linux", not(feature = "portable")))]
#[tokio::test]
async fn several_sockets_share_an_address_that_nobody_else_gets() {
    let several = |port| Plan { port, listeners: udp(3), ..plan(&["127.0.0.1"]) };
    let bound = bind(&several(0), &Interfaces::default()).unwrap();
    let address = bound.udp[0][0].receiver.local_addr().unwrap();
    assert_eq!(bound.udp.len(), 3);
    for (index, pairs) in (0..).zip(&bound.udp) {
        let [pair] = &pairs[..] else { panic!("{pairs:?}") };
        assert_eq!(pair.receiver.local_addr().unwrap(), address);
        assert_eq!((pair.is_primary(), pair.lane.index), (index == 0, index));
    }
    for count in [1, 3] {
        let second = Plan { listeners: udp(count), ..several(address.port()) };
        let error = bind(&second, &Interfaces::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
    drop(bound);
    let alone = Plan { listeners: udp(1), ..several(address.port()) };
    let _alone = bind(&alone, &Interfaces::default()).unwrap();
    let error = bind(&several(address.port()), &Interfaces::default()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[cfg(all(target_os = "linux", not(feature = "portable")))]
#[tokio::test]
async fn the_system_hands_each_host_to_its_lane() {
    use crate::net::Inbox;

    let plan = Plan { listeners: udp(5), ..plan(&[]) };
    let bound = bind(&plan, &Interfaces::default()).unwrap();
    let port = bound.udp[0][0].receiver.local_addr().unwrap().port();
    let sources = (1..=32).map(|last| Ipv4Addr::new(127, 0, 0, last).into());
    let sources: Vec<IpAddr> = sources.chain([Ipv6Addr::LOCALHOST.into()]).collect();
    const EACH: usize = 3;
    for source in &sources {
        let to = if source.is_ipv4() { "127.0.0.1" } else { "::1" };
        for _ in 0..EACH {
            // Each from another port.
            UdpSocket::bind((*source, 0)).unwrap().send_to(b"?", (to, port)).unwrap();
        }
    }
    let (mut came, mut inbox) = (0, Inbox::new());
    for pairs in &bound.udp {
        std::future::poll_fn(|cx| pairs[0].receiver.poll_readable(cx)).await.unwrap();
        while !pairs[0].receiver.try_recv(&mut inbox).unwrap() || inbox.len() > 0 {
            for (incoming, _) in inbox.iter() {
                came += 1;
                assert!(pairs[0].lane.serves(incoming.source.ip()), "{incoming:?}");
            }
        }
    }
    assert_eq!(came, EACH * sources.len());
}

#[tokio::test]
async fn the_wildcard_serves_both_families() {
    let bound = bind(&plan(&[]), &Interfaces::default()).unwrap();
    let port = bound.tcp[0].local_addr().unwrap().port();
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    if bound.tcp[0].local_addr().unwrap().is_ipv6() {
        std::net::TcpStream::connect(("::1", port)).unwrap();
    }
}
