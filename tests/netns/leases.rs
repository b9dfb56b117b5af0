//! The Rust announcer and resolver on machines whose addresses change or are link-local.

use std::process::Command;

use rpyc_client::{Port, Registrar, Registries, RegistryAddr, Resolver, ServiceName, Transport};
use rpyc_server::Announcer;
use rpyc_tests::{Daemon, Host, Lab, PATIENCE};
use tokio::runtime::Builder;

use super::PORT;

/// Runs a scenario on `host`.
fn on<T: Send>(host: &Host, scenario: impl AsyncFnOnce() -> T + Send) -> T {
    host.enter(|| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(scenario())
    })
}

fn ip(host: &Host, arguments: &[&str]) {
    let mut command: Command = host.command("ip");
    assert!(command.args(arguments).status().unwrap().success(), "ip {arguments:?}");
}

fn at(host: &Host) -> Registries {
    let addr = RegistryAddr::new(Transport::Udp, (host.interface().v4, PORT).into()).unwrap();
    addr.into()
}

fn announcer(registries: Registries) -> rpyc_server::AnnouncerBuilder {
    let names = [ServiceName::new("payroll").unwrap()];
    Announcer::builder(names, Port::tcp(18861).unwrap(), registries)
}

/// Renewals are a minute apart, and the new address must not wait for the next one.
#[test]
fn a_server_whose_address_changes_is_announced_anew_at_once() {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let (registry, serving) = (lab.host("registry", &[&office]), lab.host("server", &[&office]));
    let _daemon = Daemon::start_on(&registry, &["--listing"]);
    let registries = at(&registry);
    let (old, name) = (serving.interface().v4, serving.interface().name.clone());
    let mut octets = old.octets();
    octets[3] = 200;
    let new = std::net::Ipv4Addr::from(octets);
    on(&serving, async || {
        let announcer = announcer(registries.clone()).build();
        let mut status = announcer.status();
        let running = announcer.run(std::future::pending::<()>());
        let watching = async {
            status.wait_for(|all| all[0].is_acknowledged()).await.unwrap();
            assert!(status.borrow()[0].is_native);
            let registrar = Registrar::new(registries.clone());
            let payroll = ServiceName::new("payroll").unwrap();
            let found = registrar.resolve(&payroll).await.unwrap();
            assert_eq!(found[0].endpoint.host, old.to_string());
            ip(&serving, &["address", "add", &format!("{new}/24"), "dev", &name]);
            ip(&serving, &["address", "del", &format!("{old}/24"), "dev", &name]);
            // Removing the first address also removes the second of the same network, unless the
            // system promotes it.
            ip(&serving, &["address", "replace", &format!("{new}/24"), "dev", &name]);
            let moved = async {
                loop {
                    let found = registrar.resolve(&payroll).await;
                    let hosts: Vec<_> =
                        found.into_iter().flatten().map(|it| it.endpoint.host).collect();
                    if hosts == [new.to_string()] {
                        break;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            };
            tokio::time::timeout(PATIENCE, moved).await.unwrap();
        };
        tokio::select! {
            _ = running => panic!("it does not end"),
            () = watching => {}
        }
    });
}

#[test]
fn a_link_local_address_is_reached_by_the_interface_of_the_client() {
    let Some(lab) = Lab::or_notice() else { return };
    let (spare, office) = (lab.segment(), lab.segment());
    let registry = lab.host("registry", &[&office]);
    let serving = lab.host("server", &[&office]);
    // The same link has another interface index on that host.
    let asking = lab.host("client", &[&spare, &office]);
    let _daemon = Daemon::start_on(&registry, &[]);
    let link_local = serving.interface().link_local;
    let to = std::net::SocketAddrV6::new(
        registry.interface().link_local,
        PORT,
        0,
        serving.interface().index,
    );
    on(&serving, async || {
        let registries = RegistryAddr::new(Transport::Udp, to.into()).unwrap();
        let announcer = announcer(registries.into()).address(link_local).build();
        announcer.announce_once().await.remove(0).unwrap();
    });
    let zone = &asking.interfaces()[1];
    let to = std::net::SocketAddrV6::new(registry.interface().link_local, PORT, 0, zone.index);
    on(&asking, async || {
        let resolver = Resolver::new(RegistryAddr::new(Transport::Udp, to.into()).unwrap());
        let found = resolver.resolve("payroll").await.unwrap();
        assert_eq!(found.instances[0].endpoint.host, format!("{link_local}%{}", zone.name));
        let mut following = resolver.follow("payroll").await.unwrap();
        let watched =
            following.wait_for(|it| it.freshness == rpyc_client::resolver::Freshness::Watched);
        let watched = watched.await.unwrap().clone();
        assert_eq!(watched.instances, found.instances);
    });
}
