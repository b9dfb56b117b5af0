//! Behaviour that the daemon shares with RPyC's own registry, as a drop-in replacement.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use rpyc_tests::{PATIENCE, Raised, Reference, Registrar, Registry, Scratch, Settings, eventually};
use serde_json::{Value, json};

use super::{Case, sorted};

scenarios! { shared:
    a_server_is_found_by_its_name_and_called,
    every_alias_leads_to_the_server,
    both_versions_share_a_registry,
    an_unknown_name_is_not_found,
    a_closed_server_is_found_no_more,
    a_server_that_renews_stays_and_a_killed_one_expires,
    a_server_that_registers_again_is_one_server,
    unregistering_takes_back_all_names_of_one_port,
    a_dead_server_is_passed_over,
    names_are_listed_with_and_without_a_host,
    a_forbidden_listing_raises_forbidden_error,
    letters_are_folded_as_python_folds_them,
    a_server_on_a_unix_socket_is_found,
}

fn a_server_is_found_by_its_name_and_called<R: Registry>(case: Case) {
    let registry = R::start(Settings::default());
    let server = case.server(&registry, &["PAYROLL"]);
    let mut client = case.client(&registry);

    assert_eq!(client.query("payroll"), json!([["127.0.0.1", server.port()]]));
    assert_eq!(client.discover("payroll"), Ok(json!([["127.0.0.1", server.port()]])));
    assert_eq!(client.call("payroll", "pid", &[]), json!(server.pid()));
    assert_eq!(client.call("Payroll", "echo", &[json!("grüße")]), json!("grüße"));
}

fn every_alias_leads_to_the_server<R: Registry>(case: Case) {
    let registry = R::start(Settings::default());
    let server = case.server(&registry, &["PAYROLL", "Wages", "salaries"]);
    let other = case.server(&registry, &["STOCK"]);
    let mut client = case.client(&registry);

    for alias in ["payroll", "WAGES", "Salaries"] {
        assert_eq!(client.call(alias, "pid", &[]), json!(server.pid()), "{alias}");
    }
    assert_eq!(client.call("stock", "pid", &[]), json!(other.pid()));
}

/// Discovery must work between versions, although RPyC's calls need the same version on both ends.
fn both_versions_share_a_registry<R: Registry>(case: Case) {
    let registry = R::start(Settings::default());
    let names = Reference::ALL.map(|reference| format!("PAYROLL-OF-{reference:?}"));
    let servers = Reference::ALL.map(|reference| Case { reference, ..case }).map(|case| {
        case.server(&registry, &["PAYROLL", &format!("PAYROLL-OF-{:?}", case.reference)])
    });
    let all = json!(servers.each_ref().map(|server| json!(["127.0.0.1", server.port()])));

    for ((reference, name), server) in Reference::ALL.into_iter().zip(&names).zip(&servers) {
        let mut client = Registrar::start(reference, case.via(&registry));
        assert_eq!(sorted(&client.query("payroll")), sorted(&all), "{reference:?}");
        assert_eq!(client.call(name, "pid", &[]), json!(server.pid()), "{reference:?}");
    }
}

fn an_unknown_name_is_not_found<R: Registry>(case: Case) {
    let registry = R::start(Settings::default());
    let _server = case.server(&registry, &["PAYROLL"]);
    let mut client = case.client(&registry);

    assert_eq!(client.query("payrol"), json!([]));
    assert_eq!(class(client.discover("payrol")), "DiscoveryError");
    let raised = client.try_ask(&json!(["call", "payrol", "pid"]));
    assert_eq!(class(raised), "DiscoveryError");
}

fn a_closed_server_is_found_no_more<R: Registry>(case: Case) {
    let registry = R::start(Settings::default());
    let staying = case.server(&registry, &["PAYROLL"]);
    let leaving = case.server(&registry, &["PAYROLL", "WAGES"]);
    let mut client = case.client(&registry);
    let both = json!([["127.0.0.1", leaving.port()], ["127.0.0.1", staying.port()]]);
    assert_eq!(sorted(&client.query("payroll")), sorted(&both));

    leaving.close();

    // RPyC does not wait for the reply to UNREGISTER.
    let remaining = json!([["127.0.0.1", staying.port()]]);
    eventually("only the other server is found", PATIENCE, || {
        (client.query("payroll") == remaining).then_some(())
    });
    assert_eq!(client.query("wages"), json!([]));
    assert_eq!(client.call("payroll", "pid", &[]), json!(staying.pid()));
}

fn a_server_that_renews_stays_and_a_killed_one_expires<R: Registry>(case: Case) {
    let timeout = Duration::from_secs(3);
    let registry = R::start(Settings::default().timeout(timeout));
    let renewing = case.options(&registry, &["PAYROLL"]).renewing_every(Duration::from_secs(1));
    let server = renewing.start_registered(case.reference);
    let mut client = case.client(&registry);
    let found = json!([["127.0.0.1", server.port()]]);
    assert_eq!(client.query("payroll"), found);

    // The sixth registration comes five seconds after the first.
    server.wait_for_registrations(6);
    assert_eq!(client.query("payroll"), found);

    server.kill();
    assert_eq!(client.query("payroll"), found, "nobody has told the registry");
    eventually("the killed server expires", timeout + PATIENCE, || {
        (client.query("payroll") == json!([])).then_some(())
    });
}

fn a_server_that_registers_again_is_one_server<R: Registry>(case: Case) {
    let registry = R::start(Settings::default());
    let mut client = case.client(&registry);
    for _ in 0..3 {
        assert!(client.register(&["PAYROLL", "payroll"], 18861));
    }
    assert_eq!(client.query("payroll"), json!([["127.0.0.1", 18861]]));
}

fn unregistering_takes_back_all_names_of_one_port<R: Registry>(case: Case) {
    let registry = R::start(Settings::default());
    let mut client = case.client(&registry);
    assert!(client.register(&["PAYROLL", "WAGES"], 18861));
    assert!(client.register(&["SALARIES"], 18861));
    assert!(client.register(&["PAYROLL"], 18862));

    client.unregister(18861);

    eventually("the port is gone", PATIENCE, || {
        (client.query("payroll") == json!([["127.0.0.1", 18862]])).then_some(())
    });
    assert_eq!(client.query("wages"), json!([]));
    assert_eq!(client.query("salaries"), json!([]));
}

fn a_dead_server_is_passed_over<R: Registry>(case: Case) {
    let registry = R::start(Settings::default());
    let mut client = case.client(&registry);
    let dead = DeadPort::new();
    assert!(client.register(&["PAYROLL"], dead.number()));
    let server = case.server(&registry, &["PAYROLL"]);

    // Enough calls for the dead server to come first in one of them, whichever the registry starts
    // with.
    for _ in 0..4 {
        assert_eq!(client.call("payroll", "pid", &[]), json!(server.pid()));
    }
}

fn names_are_listed_with_and_without_a_host<R: Registry>(case: Case) {
    let registry = R::start(Settings::default().listing());
    let mut client = case.client(&registry);
    assert_eq!(client.list(None), Ok(json!([])));

    let server = case.server(&registry, &["PAYROLL", "wages"]);
    let _other = case.server(&registry, &["STOCK"]);

    let all = json!(["PAYROLL", "STOCK", "WAGES"]);
    assert_eq!(sorted(&client.list(None).unwrap()), sorted(&all));
    assert_eq!(sorted(&client.list(Some("127.0.0.1")).unwrap()), sorted(&all));
    assert_eq!(client.list(Some("10.0.0.1")), Ok(json!([])));
    assert_eq!(client.list(Some("127.0.0")), Ok(json!([])), "the whole address is compared");

    server.close();
    eventually("the closed server's names leave the list", PATIENCE, || {
        (client.list(None) == Ok(json!(["STOCK"]))).then_some(())
    });
}

fn a_forbidden_listing_raises_forbidden_error<R: Registry>(case: Case) {
    let registry = R::start(Settings::default());
    let _server = case.server(&registry, &["PAYROLL"]);
    let mut client = case.client(&registry);

    assert_eq!(class(client.list(None)), "ForbiddenError");
    assert_eq!(class(client.list(Some("127.0.0.1"))), "ForbiddenError");
}

fn letters_are_folded_as_python_folds_them<R: Registry>(case: Case) {
    let registry = R::start(Settings::default().listing());
    let mut client = case.client(&registry);
    let names = [
        ("straße", "STRASSE"),
        ("ﬁle", "FILE"),
        ("ŉame", "ʼNAME"),
        ("ǰ", "J\u{30c}"),
        ("ὀδυσσεύς", "ὈΔΥΣΣΕΎΣ"),
        ("ᾳ", "ΑΙ"),
        ("ı", "I"),
        ("给料", "给料"),
        ("пРивет", "ПРИВЕТ"),
    ];
    for (port, (name, folded)) in (20_001..).zip(names) {
        assert!(client.register(&[name], port));
        let found = json!([["127.0.0.1", port]]);
        assert_eq!(client.query(name), found, "{name}");
        assert_eq!(client.query(folded), found, "{folded}");
    }
    let expected = json!(names.map(|(_, folded)| folded));
    assert_eq!(sorted(&client.list(None).unwrap()), sorted(&expected));
}

fn a_server_on_a_unix_socket_is_found<R: Registry>(case: Case) {
    let registry = R::start(Settings::default());
    let directory = Scratch::new();
    let path = directory.path().join("payroll");
    let server = case.options(&registry, &["PAYROLL"]).socket_path(&path);
    let server = server.start_registered(case.reference);
    let mut client = case.client(&registry);

    assert_eq!(client.query("payroll"), json!([["127.0.0.1", path]]));
    assert_eq!(client.ask(&json!(["call_unix", path, "pid"])), json!(server.pid()));

    server.close();
    eventually("the closed server is gone", PATIENCE, || {
        (client.query("payroll") == json!([])).then_some(())
    });
}

/// The class of the raised exception.
fn class(answer: Result<Value, Raised>) -> String {
    answer.unwrap_err().class
}

/// A loopback port that is bound, so no other process gets it, and that refuses connections.
struct DeadPort {
    _listener: TcpListener,
    stream: TcpStream,
}

impl DeadPort {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Self { _listener: listener, stream }
    }

    fn number(&self) -> u16 {
        self.stream.local_addr().unwrap().port()
    }
}
