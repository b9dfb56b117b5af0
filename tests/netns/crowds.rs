//! A hostile host that takes what connections of a Rust server it can get.

use std::net::IpAddr;

use rpyc_tests::process::Process;
use rpyc_tests::{Host, Lab, Reference, conformance, python};
use serde_json::json;

const PORT: &str = "18861";

/// Starts a conformance server on `host`.
fn serve(host: &Host) -> Process {
    let mut command = host.command("sh");
    command.args(["-c", "ulimit -n 4096; exec \"$0\" --port \"$1\""]);
    command.arg(conformance::rust().get_program()).arg(PORT);
    let process = Process::start("the conformance server", command);
    process.wait_for("address", |lines| {
        lines.iter().any(|line| line.starts_with("listening on")).then_some(())
    });
    process
}

/// Makes `host` take connections from each of `sources` and keep them, and returns how many it got.
fn hold(host: &Host, to: IpAddr, sources: &[String]) -> (Process, Vec<usize>) {
    let mut arguments = vec![to.to_string(), PORT.to_owned(), "1100".to_owned()];
    arguments.extend_from_slice(sources);
    let process = python::script(Reference::Rpyc6, Some(host), "hold.py", &arguments);
    let held = process.wait_for("HELD", |lines| {
        let line = lines.iter().find_map(|line| line.strip_prefix("HELD "))?;
        Some(line.split(' ').map(|count| count.parse().unwrap()).collect())
    });
    (process, held)
}

/// Whether a client on `host` is served.
fn is_served(host: &Host, to: IpAddr) -> bool {
    let code = "import json, rpyc, sys\n\
        try: print(json.dumps(rpyc.connect(sys.argv[1], int(sys.argv[2]), \
            ipv6=':' in sys.argv[1]).root.add(20, 22)))\n\
        except (EOFError, OSError): print(json.dumps(None))";
    Reference::ALL.into_iter().all(|reference| {
        let answer = python::run(reference, Some(host), code, &[&to.to_string(), PORT]);
        answer == json!(42)
    })
}

#[test]
fn one_host_cannot_take_all_connections_and_has_one_share_of_ipv6_addresses() {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let [server, hostile, honest] =
        ["server", "hostile", "honest"].map(|name| lab.host(name, &[&office]));
    let _serving = serve(&server);
    let (v4, v6) = (server.interface().v4.into(), server.interface().v6.into());
    assert!(is_served(&honest, v4));

    let (_four, held) = hold(&hostile, v4, &[hostile.interface().v4.to_string()]);
    assert_eq!(held, [256]);
    assert!(is_served(&honest, v4) && is_served(&honest, v6));

    // Its IPv6 network has more addresses than anyone can count. The honest host is in the same
    // network here, so it comes over IPv4.
    let mut sources = vec![hostile.interface().v6.to_string()];
    let prefix = hostile.interface().v6.to_string();
    let prefix = prefix.rsplit_once(':').unwrap().0;
    for last in ["a:1", "a:2"] {
        let address = format!("{prefix}:{last}");
        let mut command = hostile.command("ip");
        command.args(["address", "add", &format!("{address}/64"), "dev", "eth0", "nodad"]);
        assert!(command.status().unwrap().success());
        sources.push(address);
    }
    let (_six, held) = hold(&hostile, v6, &sources);
    assert_eq!(held, [256, 0, 0]);
    assert!(is_served(&honest, v4));
}
