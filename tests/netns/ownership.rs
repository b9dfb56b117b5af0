//! The addresses that servers of other machines may announce, and what a hostile host cannot do.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use rpyc_client::native::{ErrorCode, Registration, Target};
use rpyc_client::{Port, Registrar, Registries, RegistryAddr, ServiceName, Transport};
use rpyc_server::announcer::State;
use rpyc_server::{Announcer, AnnouncerBuilder};
use rpyc_tests::raw::Datagrams;
use rpyc_tests::{Daemon, Host, Lab, PATIENCE, eventually};
use serde_json::{Value, json};
use tokio::runtime::Builder;

use super::PORT;

/// Runs a scenario on `host`.
fn on<T: Send>(host: &Host, scenario: impl AsyncFnOnce() -> T + Send) -> T {
    host.enter(|| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(PATIENCE, scenario()).await.unwrap() })
    })
}

fn registries(transport: Transport, ip: IpAddr) -> Registries {
    RegistryAddr::new(transport, (ip, PORT).into()).unwrap().into()
}

fn payroll() -> ServiceName {
    ServiceName::new("payroll").unwrap()
}

fn announcer(registries: Registries, addresses: &[IpAddr]) -> AnnouncerBuilder {
    let announcer = Announcer::builder([payroll()], Port::tcp(18861).unwrap(), registries);
    addresses.iter().fold(announcer, |announcer, address| announcer.address(*address))
}

/// The hosts of the servers that a client on `host` finds.
fn found(host: &Host, registry: IpAddr) -> Vec<String> {
    on(host, async || {
        let registrar = Registrar::new(registries(Transport::Udp, registry));
        let found = registrar.resolve(&payroll()).await.unwrap_or_default();
        found.into_iter().map(|it| it.endpoint.host).collect()
    })
}

#[test]
fn a_server_on_two_networks_announces_its_addresses_on_both() {
    let Some(lab) = Lab::or_notice() else { return };
    let (office, warehouse) = (lab.segment(), lab.segment());
    let registry = lab.host("registry", &[&office, &warehouse]);
    let serving = lab.host("server", &[&office, &warehouse]);
    let clients = [lab.host("one", &[&office]), lab.host("two", &[&warehouse])];
    let _daemon = Daemon::start_on(&registry, &[]);
    let own: Vec<IpAddr> = serving.interfaces().iter().map(|it| it.v4.into()).collect();
    for transport in [Transport::Udp, Transport::Tcp] {
        let at = registry.interface().v4.into();
        on(&serving, async || {
            let announcer = announcer(registries(transport, at), &own).build();
            let mut status = announcer.status();
            let mut watching = async || {
                let known = |all: &Vec<rpyc_server::announcer::Status>| {
                    all[0].is_acknowledged() || matches!(all[0].state, State::Failing { .. })
                };
                status.wait_for(known).await.unwrap().clone()
            };
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let stopping = async {
                let status = watching().await;
                assert!(status[0].is_acknowledged(), "{status:?}");
                std::thread::scope(|scope| {
                    for (n, client) in clients.iter().enumerate() {
                        let at = registry.interfaces()[n].v4.into();
                        let told = scope.spawn(move || found(client, at)).join().unwrap();
                        assert_eq!(told[0], own[n].to_string(), "{transport:?}");
                    }
                });
                stop.send(()).unwrap();
            };
            let (is_tidy, ()) = tokio::join!(announcer.run(stopped), stopping);
            assert!(is_tidy);
        });
    }
}

#[test]
fn an_address_of_another_machine_is_refused_unless_it_is_allowed() {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let (registry, serving) = (lab.host("registry", &[&office]), lab.host("server", &[&office]));
    let victim = lab.host("victim", &[&office]);
    let at: IpAddr = registry.interface().v4.into();
    let foreign: IpAddr = victim.interface().v4.into();
    let own: IpAddr = serving.interface().v4.into();
    let announce = |addresses: &[IpAddr]| {
        on(&serving, async || {
            let announcer = announcer(registries(Transport::Udp, at), addresses).build();
            announcer.announce_once().await.remove(0)
        })
    };
    let daemon = Daemon::start_on(&registry, &[]);
    announce(&[own]).unwrap();
    for addresses in [&[own, foreign][..], &[foreign], &[at]] {
        let error = announce(addresses).unwrap_err().to_string();
        assert!(error.contains("--addresses-from"), "{error}");
    }
    drop(daemon);
    let grant = format!("--addresses-from={own}={foreign}");
    let _daemon = Daemon::start_on(&registry, &[&grant]);
    announce(&[own, foreign]).unwrap();
}

/// Another host takes the address of a server, as one that forges it would, and knows everything
/// but what the registry sends to the server.
#[test]
fn datagrams_with_a_forged_source_change_nothing_that_is_native() {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let (registry, serving) = (lab.host("registry", &[&office]), lab.host("server", &[&office]));
    let hostile = lab.host("hostile", &[&office]);
    let at = (registry.interface().v4, PORT).into();
    let _daemon = Daemon::start_on(&registry, &["--operator-from=10.77.1.0/24"]);
    let own = serving.interface().v4;
    let lease = on(&serving, async || {
        let native = Registrar::new(registries(Transport::Udp, registry.interface().v4.into()));
        let registration = Registration {
            names: vec!["payroll".into()],
            port: Port::tcp(18861).unwrap(),
            addresses: Vec::new(),
            ttl_ms: None,
            key: Some("k1".into()),
            replaces: None,
            exclusive: false,
            details: Default::default(),
        };
        native.native().register(registration).await.unwrap().value
    });
    // The hostile host sends from the server's address, without ARP, so that it receives no reply.
    let interface = hostile.interface().name.clone();
    let shown = registry.command("ip").args(["-br", "link", "show"]).output().unwrap().stdout;
    let shown = String::from_utf8(shown).unwrap();
    let line = shown.lines().find(|line| line.starts_with(&registry.interface().name)).unwrap();
    let mac = line.split_whitespace().nth(2).unwrap();
    let to = registry.interface().v4;
    let script = format!(
        "echo 8 > /proc/sys/net/ipv4/conf/{interface}/arp_ignore && \
         ip neigh replace {to} lladdr {mac} nud permanent dev {interface} && \
         ip address add {own}/32 dev {interface}"
    );
    let mut command: Command = hostile.command("sh");
    assert!(command.args(["-c", &script]).status().unwrap().success(), "{script}");
    let forged = Datagrams::bind_on(&hostile, (own, 0).into());
    let known = Datagrams::bind_on(&serving, (own, 0).into());
    let request = |mut request: Value| {
        request["v"] = json!(1);
        format!("{:<500}", request.to_string()).into_bytes()
    };
    for change in [
        json!({"op": "register", "names": ["payroll"], "port": 18861, "key": "k2"}),
        json!({"op": "register", "names": ["other"], "port": 1}),
        json!({"op": "deregister", "name": "payroll"}),
        json!({"op": "drain", "name": "payroll"}),
        json!({"op": "deregister", "lease": lease.lease}),
    ] {
        forged.send(&request(change), at);
    }
    // A request of the server after all of these has been served after them, or they were lost.
    let reply = known.ask(&request(json!({"op": "ping"})), at).0;
    assert!(serde_json::from_slice::<Value>(&reply).unwrap()["cookie"].is_string());
    eventually("the server is still there", PATIENCE, || {
        (found(&serving, registry.interface().v4.into()) == [own.to_string()]).then_some(())
    });
    let renewed = on(&serving, async || {
        let native = Registrar::new(registries(Transport::Udp, registry.interface().v4.into()));
        native.native().renew(lease.lease).await
    });
    assert_eq!(renewed.unwrap().value.instance, lease.instance);
}

#[test]
fn an_operator_on_another_machine_drains_over_udp() {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let (registry, serving) = (lab.host("registry", &[&office]), lab.host("server", &[&office]));
    let _daemon = Daemon::start_on(&registry, &["--operator-from=10.77.1.0/24"]);
    let at: IpAddr = registry.interface().v4.into();
    on(&serving, async || {
        let announcer = announcer(registries(Transport::Udp, at), &[]).build();
        announcer.announce_once().await.remove(0).unwrap();
        // By broadcast as well: each registry that receives it gets its own cookie.
        let everybody = registries(Transport::Udp, Ipv4Addr::BROADCAST.into());
        for (registries, changed) in [(registries(Transport::Udp, at), 1), (everybody, 0)] {
            let native = Registrar::new(registries).native();
            let target = Target { name: Some("payroll".into()), ..Target::default() };
            assert_eq!(native.drain(target).await.unwrap().value, changed);
        }
        let target = Target { name: Some("nosuch".into()), ..Target::default() };
        let error = Registrar::new(registries(Transport::Udp, at)).native().drain(target).await;
        assert_eq!(error.unwrap_err().code(), Some(ErrorCode::UnknownTarget));
    });
}

#[test]
fn a_server_announces_addresses_of_both_ip_versions_to_a_registry_nearby() {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let (registry, serving) = (lab.host("registry", &[&office]), lab.host("server", &[&office]));
    let _daemon = Daemon::start_on(&registry, &[]);
    let interface = serving.interface();
    let own = [IpAddr::from(interface.v4), interface.v6.into(), interface.link_local.into()];
    on(&serving, async || {
        let announcer = announcer(Registries::nearby(), &own).build();
        announcer.announce_once().await.remove(0).unwrap();
        let asking = Registrar::new(registries(Transport::Udp, registry.interface().v6.into()));
        let found = asking.resolve(&payroll()).await.unwrap().remove(0);
        let mut hosts: Vec<_> = found.endpoints().map(|it| it.host.clone()).collect();
        hosts.sort();
        assert_eq!(hosts.len(), 3, "{hosts:?}");
    });
}
