//! Operators over the network: never by an address of the registry's machine, and never by a source
//! that may be forged.

use super::*;

/// Whether the registry refused the request.
fn is_refused(reply: &Value) -> bool {
    let code = reply["error"]["code"].as_str().unwrap_or_default();
    matches!(code, "forbidden" | "cookie_required")
}

#[test]
fn no_address_of_this_machine_is_an_operator() {
    let daemon = Daemon::start(&[]);
    let instance = register(&daemon);
    let sources: [IpAddr; 4] = [[127, 0, 0, 1], [127, 0, 0, 6], [127, 9, 9, 9], [127, 0, 0, 2]]
        .map(|octets| Ipv4Addr::from(octets).into());
    for source in sources {
        let IpAddr::V4(v4) = source else { unreachable!("those above are IPv4") };
        let datagrams = Datagrams::from(source, &daemon);
        let cookie = datagrams.cookie();
        for request in operations(instance) {
            let reply = ask(tcp_from(v4, &daemon), request.clone());
            assert_eq!(reply["error"]["code"], "forbidden", "{source}: {request}: {reply}");
            let reply = datagrams.ask(request.clone());
            assert!(is_refused(&reply), "{source}: {request}: {reply}");
            let mut proven = request.clone();
            proven["cookie"] = cookie.clone();
            let reply = datagrams.ask(proven);
            assert_eq!(reply["error"]["code"], "forbidden", "{source}: {request}: {reply}");
        }
    }
    let over_ipv6 = Datagrams::from("::1".parse().unwrap(), &daemon);
    let cookie = over_ipv6.cookie();
    let reply = over_ipv6.ask(json!({"op": "drain", "name": "a", "cookie": cookie}));
    assert_eq!(reply["error"]["code"], "forbidden", "{reply}");
    assert_eq!(states(&daemon), ["passing"]);
}

#[test]
fn a_network_of_operators_needs_a_proven_source() {
    let operator = Ipv4Addr::new(127, 0, 0, 6);
    let daemon = Daemon::start(&["--operator-from", "127.0.0.6/32"]);
    let instance = register(&daemon);
    // A datagram with a forged source is like these: its sender gets no reply, and so no cookie.
    let datagrams = Datagrams::from(operator.into(), &daemon);
    let stranger = Datagrams::from(Ipv4Addr::new(127, 0, 0, 7).into(), &daemon);
    for request in operations(instance) {
        let reply = datagrams.ask(request.clone());
        assert!(is_refused(&reply), "{request}: {reply}");
        for cookie in [json!("0123456789abcdef"), json!(""), stranger.cookie()] {
            let mut forged = request.clone();
            forged["cookie"] = cookie;
            let reply = datagrams.ask(forged);
            assert!(is_refused(&reply), "{request}: {reply}");
        }
    }
    assert_eq!(states(&daemon), ["passing"]);
    let drain = |datagrams: &Datagrams| {
        let cookie = datagrams.cookie();
        datagrams.ask(json!({"op": "drain", "name": "a", "cookie": cookie}))
    };
    let reply = drain(&stranger);
    assert_eq!(reply["error"]["code"], "forbidden", "{reply}");
    let reply = drain(&datagrams);
    assert_eq!(reply["changed"], 1, "{reply}");
    assert_eq!(states(&daemon), ["draining"]);
    let reply = ask(tcp_from(operator, &daemon), json!({"op": "undrain", "name": "a"}));
    assert_eq!(reply["changed"], 1, "{reply}");
    let other = ask(tcp_from(Ipv4Addr::LOCALHOST, &daemon), json!({"op": "drain", "name": "a"}));
    assert_eq!(other["error"]["code"], "forbidden", "{other}");
}

#[test]
fn everyone_on_this_machine_still_reads() {
    let daemon = Daemon::start(&[]);
    register(&daemon);
    let requests =
        [json!({"op": "list"}), json!({"op": "status"}), json!({"op": "describe", "name": "a"})];
    let datagrams = Datagrams::from(Ipv4Addr::new(127, 0, 0, 6).into(), &daemon);
    for request in requests {
        for reply in [
            ask(tcp_from(Ipv4Addr::new(127, 0, 0, 6), &daemon), request.clone()),
            datagrams.ask(request.clone()),
        ] {
            assert!(reply["error"].is_null(), "{request}: {reply}");
        }
        let bare = serde_json::to_vec(&json!({"v": 1, "op": request["op"], "name": "a"})).unwrap();
        let reply = datagrams.ask_bytes(&bare).to_string();
        assert!(reply.len() <= 3 * bare.len(), "{reply}");
    }
}

#[test]
fn without_operators_there_are_none() {
    let args = ["--operators", "none", "--operator-from", "127.0.0.0/8"];
    let daemon = Daemon::start(&args);
    let instance = register(&daemon);
    assert!(!daemon.state().join("operator.sock").exists());
    assert!(!daemon.output().contains("operators"), "{}", daemon.output());
    for request in operations(instance) {
        let reply = ask(tcp_from(Ipv4Addr::LOCALHOST, &daemon), request.clone());
        assert_eq!(reply["error"]["code"], "forbidden", "{request}: {reply}");
    }
    assert_eq!(states(&daemon), ["passing"]);
    let status = ask(tcp_from(Ipv4Addr::LOCALHOST, &daemon), json!({"op": "status"}));
    assert!(status["status"]["operator_socket"].is_null(), "{status}");
}
