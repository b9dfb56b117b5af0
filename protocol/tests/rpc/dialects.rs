//! Three forms of one protocol.

use std::time::Instant;

use rpyc_protocol::brine::Value;
use rpyc_protocol::rpc::{
    Action, Arguments, Boxed, CallOptions, Config, Dialect, Event, PeerThread, Request,
    RequestError, Session, Threads,
};

use super::pair::{
    Pair, boxed, class, completed, event, events, frame, messages, sent, server, tuple, unhex,
};

const ALL: [Dialect; 4] =
    [Dialect::V6, Dialect::V5, Dialect::V6.with_bind_threads(), Dialect::V5.with_bind_threads()];

#[test]
fn a_server_adapts_to_its_client() {
    for dialect in ALL {
        let mut pair = Pair::new(dialect);
        assert_eq!(pair.server.dialect(), None);
        let (_, proxy) = pair.root();
        assert_eq!(pair.server.dialect(), Some(dialect));
        let (call, asked) = pair.call(&proxy, vec![5.into()]);
        pair.server.reply(asked.id, &asked.positional[0]).unwrap();
        pair.carry();
        assert_eq!(completed(&mut pair.client, call), 5.into());
    }
}

#[test]
fn a_client_speaks_the_dialect_that_it_is_told() {
    let cases = [
        (Dialect::V6, "00000008 00 01 1150 1153 1151 02 0a"),
        (Dialect::V5, "00000008 00 12 51 50 1153 1151 02 0a"),
        (
            Dialect::V6.with_bind_threads(),
            "00000018 00 0000000000000001 0000000000000000 01 1150 1153 1151 02 0a",
        ),
    ];
    for (dialect, hex) in cases {
        let mut client = Session::new(Instant::now(), Config::client(dialect));
        client.get_root(CallOptions::default()).unwrap();
        assert_eq!(sent(&mut client), unhex(hex), "{dialect}");
    }
}

#[test]
fn a_real_client_with_bound_threads_is_answered_on_its_thread() {
    let mut session = server();
    let request = unhex("00000018 00 00007f38a55e9b80 0000000000000000 01 1150 1153 115102 0a");
    session.handle_bytes(Instant::now(), &request);
    let Event::Request { id, request: Request::Root } = event(&mut session) else { panic!() };
    let root = session.export(&class()).unwrap();
    session.reply(id, &root.into()).unwrap();
    let reply = messages(Dialect::V6.with_bind_threads(), &sent(&mut session)).remove(0);
    assert_eq!(reply.threads, Some(Threads { sender: 1, recipient: 0x7f38_a55e_9b80 }));
}

#[test]
fn a_request_made_while_serving_goes_to_the_thread_that_waits() {
    let dialect = Dialect::V6.with_bind_threads();
    let mut pair = Pair::with(
        Config { thread: 77, ..Config::client(dialect) },
        Config { thread: 88, ..Config::server() },
    );
    let (_, proxy) = pair.root();
    let function = pair.client.export(&class()).unwrap();
    let (_, asked) = pair.call(&proxy, vec![function.into()]);
    let [Boxed::Remote(function)] = &asked.positional[..] else { panic!() };
    let call = |pair: &mut Pair, within: Option<PeerThread>| {
        let action = Action::Call { args: Arguments::default() };
        let options = CallOptions { within, ..CallOptions::default() };
        pair.server.request(function, &action, options).unwrap();
        messages(dialect, &sent(&mut pair.server)).remove(0).threads
    };
    let nested = Threads { sender: 88, recipient: 77 };
    assert_eq!(call(&mut pair, asked.id.thread()), Some(nested));
    assert_eq!(call(&mut pair, None), Some(Threads { recipient: 0, ..nested }));
}

#[test]
fn plain_dialects_know_no_threads() {
    let mut pair = Pair::new(Dialect::V6);
    let (_, proxy) = pair.root();
    let (_, asked) = pair.call(&proxy, vec![]);
    assert_eq!(asked.id.thread(), None);
    pair.server.reply(asked.id, &Boxed::NONE).unwrap();
}

#[test]
fn a_server_that_speaks_first_must_assume_a_dialect() {
    let mut session = server();
    assert_eq!(session.get_root(CallOptions::default()), Err(RequestError::UnknownDialect));
    session.assume_dialect(Dialect::V5);
    session.assume_dialect(Dialect::V6);
    assert_eq!(session.dialect(), Some(Dialect::V5));
    session.get_root(CallOptions::default()).unwrap();
    assert_eq!(messages(Dialect::V5, &sent(&mut session)).len(), 1);
}

#[test]
fn dialects_are_told_apart_by_the_first_byte() {
    let threads = [0; 16];
    let cases: [(&[u8], Option<Dialect>); 12] = [
        (b"", None),
        (b"\x00", None),
        (&threads, None),
        (&[&threads[..], b"\x01"].concat(), Some(ALL[2])),
        (&[&threads[..], b"\x12"].concat(), Some(ALL[3])),
        (&[&threads[..], b"\x00"].concat(), None),
        (b"\x01", Some(Dialect::V6)),
        (b"\x02", Some(Dialect::V6)),
        (b"\x03", Some(Dialect::V6)),
        (b"\x04", None),
        (b"\x12", Some(Dialect::V5)),
        (b"G", None),
    ];
    for (payload, expected) in cases {
        assert_eq!(Dialect::detect(payload), expected, "{payload:02x?}");
    }
}

#[test]
fn the_same_conversation_says_the_same_in_every_dialect() {
    let bodies: Vec<Vec<Value>> = ALL
        .into_iter()
        .map(|dialect| {
            let mut client = Session::new(Instant::now(), Config::client(dialect));
            client.get_root(CallOptions::default()).unwrap();
            client.ping(&tuple(["x".into()]), CallOptions::default()).unwrap();
            client.close();
            messages(dialect, &sent(&mut client)).into_iter().map(|seen| seen.body).collect()
        })
        .collect();
    assert_eq!(bodies[0][2], tuple([2.into(), boxed(1, tuple([]))]));
    assert!(bodies.iter().all(|each| *each == bodies[0]));
}

#[test]
fn a_frame_of_rpyc_5_is_understood() {
    let mut session = server();
    session.handle_bytes(Instant::now(), &frame(b"\x12\x51\x50\x11\x53\x11\x51\x02"));
    let Event::Request { id, request: Request::Root } = event(&mut session) else { panic!() };
    session.reply(id, &3.into()).unwrap();
    // As captured from rpyc 5.3.1, but for the number.
    assert_eq!(sent(&mut session), unhex("00000006 00 12 52 50 1151 53 0a"));
}

#[test]
fn a_client_that_was_told_the_wrong_dialect_learns_the_right_one() {
    // What real servers send when they do not understand the first request: CLOSE.
    let goodbyes = [
        (Dialect::V6, "00000008 00 01 1150 1152 1151 02 0a"),
        (Dialect::V5, "00000008 00 12 51 50 1152 1151 02 0a"),
        (
            Dialect::V6.with_bind_threads(),
            "00000018 00 00007fa51baea6c0 0000000000000000 01 1150 1152 1151 02 0a",
        ),
        (
            Dialect::V5.with_bind_threads(),
            "00000018 00 00007fa51baea6c0 0000000000000000 12 51 50 1152 1151 02 0a",
        ),
    ];
    for told in ALL {
        for (right, goodbye) in goodbyes {
            let mut client = Session::new(Instant::now(), Config::client(told));
            client.get_root(CallOptions::default()).unwrap();
            client.handle_bytes(Instant::now(), &unhex(goodbye));
            let Some(Event::Closed { reason }) = events(&mut client).pop() else { panic!() };
            let expected = (told != right).then_some(right);
            assert_eq!(reason.dialect_of_peer(), expected, "{reason}");
        }
    }
}
