//! Registry messages against the bytes of real rpyc.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

use rpyc_protocol::brine::{FrozenSet, Value};
use rpyc_protocol::registry::reply::{self, Endpoint, Entries};
use rpyc_protocol::registry::{Names, Port, PortError, Request, RequestError, native};
use rpyc_protocol::{Limits, ServiceName};

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn request(command: impl Into<Value>, args: Vec<Value>) -> Vec<u8> {
    Value::Tuple(vec!["RPYC".into(), command.into(), Value::Tuple(args)]).to_bytes().unwrap()
}

fn decode(bytes: &[u8]) -> Result<Request<'_>, RequestError> {
    Request::decode(bytes, &Limits::REQUEST)
}

fn names(bytes: &[u8]) -> Vec<String> {
    match decode(bytes) {
        Ok(Request::Register { names, .. }) => names.map(str::to_owned).collect(),
        other => panic!("not a registration: {other:?}"),
    }
}

#[test]
fn requests_are_the_bytes_of_rpycs_clients() {
    let foo_bar = [ServiceName::new("foo").unwrap(), ServiceName::new("bar").unwrap()];
    let names = || Names::from(&foo_bar[..]);
    let cases = [
        (
            Request::Register { names: names(), port: Port::tcp(18861).unwrap() },
            "12080d52505943080e0852454749535445521111080c464f4f080c42415216053138383631",
        ),
        (Request::Query { name: "foo" }, "12080d52505943080e05515545525910080c666f6f"),
        (Request::Query { name: "nosuch" }, "12080d52505943080e05515545525910080e066e6f73756368"),
        (Request::List { host: None }, "12080d52505943080d4c495354101000"),
        (
            Request::List { host: Some("127.0.0.1") },
            "12080d52505943080d4c4953541010080e093132372e302e302e31",
        ),
        (
            Request::Unregister { port: Port::tcp(18861).unwrap() },
            "12080d52505943080e0a554e52454749535445521016053138383631",
        ),
    ];
    for (request, hex) in cases {
        let mut bytes = Vec::new();
        request.encode(&mut bytes).unwrap();
        assert_eq!(bytes, unhex(hex), "{request:?}");
        // A request is its bytes: the decoded one writes them again.
        let mut again = Vec::new();
        decode(&bytes).unwrap().encode(&mut again).unwrap();
        assert_eq!(again, bytes, "{request:?}");
    }
    assert_eq!(names().count(), 2);
}

#[test]
fn what_rpyc_accepts_is_accepted() {
    let text = |letters: &[&str]| letters.iter().map(|&name| name.into()).collect::<Vec<Value>>();
    let register = |names: Value| request("REGISTER", vec![names, 18861.into()]);
    assert_eq!(names(&register(Value::Tuple(text(&["a", "b"])))), ["a", "b"]);
    assert_eq!(names(&register(Value::FrozenSet(FrozenSet(text(&["a", "b"]))))), ["a", "b"]);
    assert_eq!(names(&register("aß".into())), ["a", "ß"], "a bare text gives its letters");
    assert_eq!(names(&register(Value::Tuple(vec![]))), [""; 0]);
    assert_eq!(names(&register(Value::Tuple(text(&[""])))), [""], "the empty name");
    assert!(matches!(
        decode(&request("query", vec!["x".into()])),
        Ok(Request::Query { name: "x" })
    ));
    assert!(matches!(
        decode(&request("qUeRy", vec!["x".into()])),
        Ok(Request::Query { name: "x" })
    ));
    let trailing = [request("QUERY", vec!["x".into()]), b"trailing".to_vec()].concat();
    assert!(matches!(decode(&trailing), Ok(Request::Query { name: "x" })));
    let path = request("UNREGISTER", vec!["/run/x.sock".into()]);
    let Ok(Request::Unregister { port: Port::Path(path) }) = decode(&path) else {
        panic!("a path")
    };
    assert_eq!(&*path, "/run/x.sock");
    for filter in [Value::None, "".into()] {
        let list = request("LIST", vec![Value::Tuple(vec![filter])]);
        assert!(matches!(decode(&list), Ok(Request::List { host: None })));
    }
}

#[test]
fn what_is_no_request_is_refused_with_its_reason() {
    let tuple = |members: Vec<Value>| Value::Tuple(members).to_bytes().unwrap();
    let args = || Value::Tuple(vec!["x".into()]);
    let register = |names: Value, port: Value| request("REGISTER", vec![names, port]);
    let one = || Value::Tuple(vec!["x".into()]);
    let cases: Vec<(Vec<u8>, RequestError)> = vec![
        // One such datagram ends RPyC's registry.
        (tuple(vec!["RPYC".into(), 5.into(), Value::Tuple(vec![])]), RequestError::CommandType),
        (tuple(vec!["rpyc".into(), "QUERY".into(), args()]), RequestError::Magic),
        (tuple(vec![Value::Bytes(b"RPYC".to_vec()), "QUERY".into(), args()]), RequestError::Magic),
        (tuple(vec!["RPYC".into(), "QUERY".into()]), RequestError::Shape),
        (tuple(vec!["RPYC".into(), "QUERY".into(), 5.into()]), RequestError::Shape),
        (b"\x50".to_vec(), RequestError::Shape),
        (request("DELETE", vec![]), RequestError::UnknownCommand { command: "DELETE".to_owned() }),
        (request("QUERY", vec![]), RequestError::Arity { command: "QUERY", given: 0 }),
        (request("REGISTER", vec![one()]), RequestError::Arity { command: "REGISTER", given: 1 }),
        (request("QUERY", vec![5.into()]), RequestError::NameType),
        (request("LIST", vec![Value::None]), RequestError::FilterType),
        (request("LIST", vec![Value::Tuple(vec![5.into()])]), RequestError::FilterType),
        (register(5.into(), 1.into()), RequestError::NamesType),
        (register(Value::Bytes(b"AB".to_vec()), 1.into()), RequestError::NamesType),
        (register(Value::Tuple(vec!["x".into(), 5.into()]), 1.into()), RequestError::NameType),
        (register(one(), 0.into()), RequestError::Port(PortError::Zero)),
        (register(one(), 65536.into()), RequestError::Port(PortError::OutOfRange)),
        (register(one(), (-1).into()), RequestError::Port(PortError::OutOfRange)),
        (register(one(), Value::None), RequestError::Port(PortError::WrongType)),
        (register(one(), true.into()), RequestError::Port(PortError::WrongType)),
        (register(one(), 1.5.into()), RequestError::Port(PortError::WrongType)),
        (register(one(), "".into()), RequestError::Port(PortError::EmptyPath)),
        (
            register(one(), "x".repeat(256).into()),
            RequestError::Port(PortError::LongPath { bytes: 256 }),
        ),
    ];
    for (bytes, reason) in cases {
        assert_eq!(decode(&bytes).map(|request| format!("{request:?}")), Err(reason));
    }
    assert!(matches!(decode(b""), Err(RequestError::Decode(_))));
    assert!(matches!(decode(b"\xff"), Err(RequestError::Decode(_))));
}

#[test]
fn replies_are_read_as_rpyc_sends_them() {
    let two =
        unhex("1111080e093132372e302e302e311605313838363111080e093132372e302e302e31160431323334");
    let endpoint = |port| Endpoint { host: "127.0.0.1".to_owned(), port };
    assert_eq!(
        reply::decode_endpoints(&two).unwrap(),
        [endpoint(Port::tcp(18861).unwrap()), endpoint(Port::tcp(1234).unwrap())]
    );
    assert_eq!(reply::decode_endpoints(b"\x02"), Ok(vec![]));
    let path = unhex("1011080e093132372e302e302e31080e0b2f72756e2f782e736f636b");
    assert_eq!(
        reply::decode_endpoints(&path).unwrap(),
        [endpoint(Port::path("/run/x.sock").unwrap())]
    );
    // RPyC's registry takes any value for a port; one such entry does not hide the others.
    let odd = Value::Tuple(vec![
        Value::Tuple(vec!["h".into(), Value::Tuple(vec![1.into()])]),
        Value::Tuple(vec!["127.0.0.1".into(), 1234.into()]),
    ]);
    assert_eq!(
        reply::decode_endpoints(&odd.to_bytes().unwrap()).unwrap(),
        [endpoint(Port::tcp(1234).unwrap())]
    );
    let listed = unhex("11080c464f4f080c424152");
    assert_eq!(reply::decode_names(&listed), Ok(Some(vec!["FOO".to_owned(), "BAR".to_owned()])));
    assert_eq!(reply::decode_names(reply::FORBIDDEN), Ok(None));
    assert!(reply::is_acknowledgement(&unhex("080b4f4b")));
    for bytes in [&b""[..], b"\x50", b"\x10\x50", b"\x10\x11\x50\x50"] {
        assert!(reply::decode_endpoints(bytes).is_err(), "{bytes:?}");
        assert!(reply::decode_names(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn entries_stay_within_their_cap_to_the_byte() {
    let entry = b"\x08\x0aA";
    for cap in 0..1000 {
        let mut buffer = Vec::new();
        let mut entries = Entries::new(&mut buffer, cap);
        let mut pushed = 0;
        while entries.push(entry) {
            pushed += 1;
        }
        let bytes = entries.finish().unwrap().to_vec();
        assert!(bytes.len() <= cap || pushed == 0, "cap {cap}");
        let one_more = Value::Tuple(vec!["A".into(); pushed + 1]).to_bytes().unwrap();
        assert!(one_more.len() > cap, "cap {cap} had room for another");
        assert_eq!(bytes, Value::Tuple(vec!["A".into(); pushed]).to_bytes().unwrap());
    }
}

#[test]
fn native_messages_round_trip_and_ignore_what_they_do_not_know() {
    let parse = |text: &str| native::Request::parse(text.as_bytes());
    let list = parse(r#"{"op": "list", "v": 1, "later": {"x": [1]}}"#).unwrap();
    assert_eq!(list.operation, native::Operation::list(None));
    assert_eq!(native::Request::parse(&list.to_bytes()), Ok(list));
    for bad in ["{", "{}", "[]", r#"{"v":1,"op":"drop"}"#, r#"{"v":1,"op":"resolve"}"#] {
        assert!(parse(bad).is_err(), "{bad}");
    }
    let reply = native::Reply::error(native::ErrorCode::ListingForbidden, "not you");
    assert_eq!(native::Reply::parse(&reply.to_bytes()), Ok(reply));
}

#[test]
fn a_query_is_decoded_without_allocation() {
    let mut query = Vec::new();
    Request::Query { name: "payroll" }.encode(&mut query).unwrap();
    let counted = allocation_counter::measure(|| {
        let Ok(Request::Query { name }) = decode(&query) else { panic!("a query") };
        assert_eq!(&*rpyc_protocol::FoldedName::new(name).unwrap(), "PAYROLL");
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
}
