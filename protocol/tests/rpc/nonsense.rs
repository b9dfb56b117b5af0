//! What a peer may get wrong: the connection lives after nonsense and dies of garbage.

use std::time::Instant;

use proptest::prelude::*;
use rpyc_protocol::Limits;
use rpyc_protocol::brine::{DecodeErrorKind, FrozenSet, Value, decode};
use rpyc_protocol::rpc::{
    CallFailure, CallOptions, CloseReason, Config, Dialect, Event, FrameError, MessageError,
    Refusal, Session, SessionLimits,
};

use super::pair::{
    answers, boxed, event, events, frame, message, raised, sent, server, server_with_object, tuple,
};

/// A text that no id pack has.
const OBJECT: &str = "<the object>";

/// Puts the id pack of an object in the place of [`OBJECT`].
fn fill_in(value: Value, pack: &Value) -> Value {
    match value {
        Value::Str(text) if text == OBJECT => pack.clone(),
        Value::Tuple(members) => {
            Value::Tuple(members.into_iter().map(|member| fill_in(member, pack)).collect())
        }
        other => other,
    }
}

#[test]
fn nonsense_is_answered_as_rpyc_answers_it() {
    let none = || tuple([]);
    let object = || boxed(3, OBJECT);
    let op = |op: i64, args: Value| tuple([op.into(), args]);
    let on = |code: i64, rest: Vec<Value>| {
        op(code, boxed(2, Value::Tuple([vec![object()], rest].concat())))
    };
    // The left sides were put to rpyc 6.0.2, which gave the right sides, unless it says otherwise.
    let cases = [
        (op(99, boxed(1, none())), "KeyError"),
        (tuple(["x".into(), boxed(1, none())]), "KeyError"),
        (op(0, boxed(1, none())), "KeyError"),
        (tuple([Value::None, boxed(1, none())]), "KeyError"),
        (5.into(), "TypeError"),
        (Value::None, "TypeError"),
        (tuple([3.into()]), "ValueError"),
        (tuple([3.into(), boxed(1, none()), 1.into()]), "ValueError"),
        (op(3, 5.into()), "TypeError"),
        (op(3, tuple([1.into()])), "ValueError"),
        (op(3, boxed(9, 5)), "ValueError"),
        (op(3, boxed(0, 5)), "ValueError"),
        (op(3, boxed(-1, 5)), "ValueError"),
        (op(3, tuple(["1".into(), none()])), "ValueError"),
        (op(3, boxed(3, tuple(["a".into(), 1.into(), 2.into()]))), "KeyError"),
        (op(3, boxed(3, 5)), "KeyError"),
        (op(3, boxed(3, tuple([OBJECT.into(), 1.into()]))), "KeyError"),
        (op(3, boxed(4, 5)), "TypeError"),
        // rpyc: IndexError
        (op(3, boxed(4, tuple(["a".into(), 1.into()]))), "ValueError"),
        // rpyc takes any value for a name
        (op(3, boxed(4, tuple([1.into(), 1.into(), 1.into()]))), "TypeError"),
        (op(3, boxed(2, 5)), "TypeError"),
        (op(3, boxed(2, tuple([5.into()]))), "TypeError"),
        (op(3, boxed(1, 5)), "TypeError"),
        (op(3, boxed(1, Value::None)), "TypeError"),
        // rpyc spreads every iterable
        (op(3, boxed(1, "ab")), "TypeError"),
        (op(3, boxed(1, tuple([1.into()]))), "TypeError"),
        (op(1, boxed(1, none())), "TypeError"),
        (op(4, boxed(1, none())), "TypeError"),
        (on(4, vec![]), "TypeError"),
        (on(4, vec![boxed(1, 5)]), "TypeError"),
        (on(4, vec![boxed(1, Value::Bytes(vec![0xff]))]), "TypeError"),
        (on(6, vec![boxed(1, "a")]), "TypeError"),
        (on(7, vec![boxed(1, 5)]), "TypeError"),
        (on(8, vec![boxed(1, "f"), boxed(1, none()), boxed(1, 5)]), "TypeError"),
        (
            on(
                8,
                vec![
                    boxed(1, "f"),
                    boxed(1, none()),
                    boxed(1, tuple([tuple([1.into(), 2.into()])])),
                ],
            ),
            "TypeError",
        ),
        (
            on(8, vec![boxed(1, "f"), boxed(1, none()), boxed(1, tuple([tuple(["a".into()])]))]),
            "TypeError",
        ),
        (on(9, vec![boxed(1, 5)]), "TypeError"),
        // rpyc gives '5'
        (op(9, boxed(1, tuple([5.into()]))), "TypeError"),
        (op(9, boxed(2, tuple([boxed(4, tuple(["a".into(), 1.into(), 2.into()]))]))), "TypeError"),
        (on(11, vec![boxed(1, 1), boxed(1, "__init__")]), "AttributeError"),
        (on(11, vec![boxed(1, 1), boxed(1, "exposed_secret")]), "AttributeError"),
        (on(11, vec![boxed(1, 1)]), "AttributeError"),
        (on(11, vec![boxed(1, 1), boxed(1, 1)]), "TypeError"),
        (on(14, vec![boxed(1, "x")]), "TypeError"),
        (on(15, vec![boxed(1, "x")]), "TypeError"),
        // rpyc counts up
        (on(15, vec![boxed(1, -1)]), "TypeError"),
        (op(15, boxed(1, tuple([5.into()]))), "TypeError"),
        (op(16, boxed(1, tuple([5.into()]))), "KeyError"),
        (op(16, boxed(1, tuple([tuple(["a".into(), 1.into(), 2.into()])]))), "KeyError"),
        (on(17, vec![boxed(1, -3)]), "TypeError"),
        (on(17, vec![boxed(1, Value::Float(1.0))]), "TypeError"),
        (on(18, vec![]), "TypeError"),
    ];
    let (mut session, _, pack) = server_with_object(Config::server());
    for (case, expected) in cases {
        let body = fill_in(case, &pack);
        session.handle_bytes(Instant::now(), &message(1, 77, body.clone()));
        let all = answers(&mut session);
        let answer = all.iter().find(|seen| seen.kind == 3).unwrap_or_else(|| panic!("{body:?}"));
        assert_eq!(answer.seq, 77.into());
        assert_eq!(raised(answer).0, expected, "{body:?}: {:?}", raised(answer).1);
        assert!(session.poll_event().is_none(), "{body:?}");
        assert_eq!(session.stats().imports, 0, "{body:?}");
    }
    assert!(!session.is_closed());
    assert_eq!(session.stats().requests, 0);
}

#[test]
fn a_key_error_names_the_key() {
    let mut session = server();
    let forged = tuple(["ledger.Book".into(), 7.into(), 1.into()]);
    let body = tuple([9.into(), boxed(2, tuple([boxed(3, forged.clone())]))]);
    session.handle_bytes(Instant::now(), &message(1, 0, body));
    session.handle_bytes(Instant::now(), &message(1, 1, tuple([99.into(), boxed(1, tuple([]))])));
    let answers = answers(&mut session);
    assert_eq!(raised(&answers[0]), ("KeyError", &[forged][..]));
    assert_eq!(raised(&answers[1]), ("KeyError", &[99.into()][..]));
}

#[test]
fn every_part_of_a_forged_id_matters() {
    let (mut session, _, pack) = server_with_object(Config::server());
    let Value::Tuple(parts) = &pack else { panic!() };
    let with = |at: usize, part: Value| {
        let mut parts = parts.clone();
        parts[at] = part;
        Value::Tuple(parts)
    };
    let forged = [
        with(0, "ledger.Bool".into()),
        with(0, "".into()),
        with(1, 8.into()),
        with(1, (-7).into()),
        with(1, Value::Int("18446744073709551623".parse().unwrap())),
        with(2, 2.into()),
        with(2, 0.into()),
        with(2, (-1).into()),
        with(2, Value::Bool(true)),
        with(2, Value::Float(1.0)),
        Value::FrozenSet(FrozenSet(parts.clone())),
    ];
    for id in forged {
        for body in [
            tuple([9.into(), boxed(2, tuple([boxed(3, id.clone())]))]),
            tuple([16.into(), boxed(1, tuple([id.clone()]))]),
            tuple([15.into(), boxed(2, tuple([boxed(3, id.clone()), boxed(1, 1)]))]),
        ] {
            session.handle_bytes(Instant::now(), &message(1, 0, body));
            assert_eq!(raised(&answers(&mut session)[0]).0, "KeyError", "{id:?}");
        }
    }
    // The right one still works.
    let body = tuple([9.into(), boxed(2, tuple([boxed(3, pack)]))]);
    session.handle_bytes(Instant::now(), &message(1, 0, body));
    assert!(matches!(event(&mut session), Event::Request { .. }));
}

#[test]
fn objects_in_a_request_that_is_refused_are_let_go() {
    let mut session = server();
    let thing = || boxed(4, tuple(["their.Thing".into(), "any".into(), tuple([1.into()])]));
    // An unknown operation with the same object twice; the box after them is bad.
    let bad = tuple([3.into(), boxed(2, tuple([thing(), thing(), boxed(9, 0)]))]);
    session.handle_bytes(Instant::now(), &message(1, 5, bad));
    let sent = answers(&mut session);
    assert_eq!(sent.len(), 2);
    let Value::Tuple(thing_parts) = thing() else { panic!() };
    let del = tuple([15.into(), boxed(2, tuple([boxed(3, thing_parts[1].clone()), boxed(1, 2)]))]);
    assert_eq!((sent[0].kind, &sent[0].body), (1, &del));
    assert_eq!(raised(&sent[1]).0, "ValueError");
    assert_eq!(session.stats().imports, 0);
}

#[test]
fn an_answer_that_makes_no_sense_fails_its_call_alone() {
    let good = || tuple(["builtins".into(), "ValueError".into()]);
    let replies = [
        (2, 5.into()),
        (2, boxed(9, 1)),
        (2, boxed(3, tuple(["x".into(), 1.into(), 2.into()]))),
        (3, 2.into()),
        (3, Value::None),
        (3, tuple([good(), tuple([]), tuple([])])),
        (3, tuple([good(), 5.into(), tuple([]), "".into()])),
        (3, tuple([good(), tuple([]), tuple([5.into()]), "".into()])),
        (3, tuple(["ValueError".into(), tuple([]), tuple([]), "".into()])),
    ];
    let mut client = Session::new(Instant::now(), Config::client(Dialect::V6));
    for (seq, (kind, body)) in (0..).zip(replies) {
        let call = client.get_root(CallOptions::default()).unwrap();
        client.handle_bytes(Instant::now(), &message(kind, seq, body.clone()));
        match event(&mut client) {
            Event::Completed { call: ended, outcome: Err(CallFailure::BadAnswer(_)) } => {
                assert_eq!(ended, call);
            }
            other => panic!("{body:?}: {other:?}"),
        }
    }
    assert!(!client.is_closed());
}

#[test]
fn a_string_exception_of_old_is_data_too() {
    let mut client = Session::new(Instant::now(), Config::client(Dialect::V6));
    client.get_root(CallOptions::default()).unwrap();
    client.handle_bytes(Instant::now(), &message(3, 0, "spam".into()));
    let Event::Completed { outcome: Err(CallFailure::Raised(exception)), .. } = event(&mut client)
    else {
        panic!()
    };
    assert_eq!(exception.to_string(), "spam");
}

#[test]
fn garbage_ends_the_session_at_once() {
    let too_long = |len| CloseReason::Frame(FrameError::TooLong { len, limit: 64 << 20 });
    let brine = |kind, offset| rpyc_protocol::brine::DecodeError { kind, offset };
    let cut = |offset| brine(DecodeErrorKind::Truncated, offset);
    let cases: Vec<(Vec<u8>, CloseReason)> = vec![
        (b"GET / HTTP/1.1\r\n".to_vec(), too_long(0x4745_5420)),
        (b"\x16\x03\x01\x02\x00\x01\x00".to_vec(), too_long(0x1603_0102)),
        (frame(b"hello"), MessageError::UnknownDialect.into()),
        (frame(b"\x00"), MessageError::UnknownDialect.into()),
        (frame(&[0; 30]), MessageError::UnknownDialect.into()),
        (frame(b"\x04\x11\x50\x00"), MessageError::UnknownDialect.into()),
        (frame(b"\x01"), MessageError::Decode(cut(0)).into()),
        (frame(b"\x01\x50"), MessageError::Shape.into()),
        (frame(b"\x01\x12\x50\x50\x50"), MessageError::Shape.into()),
        (frame(b"\x12\x54\x50\x00"), MessageError::UnknownKind.into()),
        (frame(b"\x12\x00\x50\x00"), MessageError::Shape.into()),
        (frame(b"\x01\x11\x50"), MessageError::Decode(cut(2)).into()),
        (frame(b"\x01\x11\x50\x11\x53"), CloseReason::Body(cut(2))),
        (
            frame(b"\x01\x11\x50\x11\x53\x11\x51\x07"),
            CloseReason::Body(brine(DecodeErrorKind::UnknownTag(7), 4)),
        ),
        (
            frame(b"\x01\x11\x50\x00\x00"),
            CloseReason::Body(brine(DecodeErrorKind::TrailingBytes, 1)),
        ),
        // Nonsense, then something that is not brine.
        (frame(b"\x01\x11\x50\x11\x53\x12\x00\x07"), CloseReason::Body(cut(5))),
        (frame(b"\x02\x11\x50\x11\x59"), CloseReason::Body(cut(2))),
        (frame(b"\x03\x11\x50\x13"), CloseReason::Body(cut(1))),
    ];
    for (bytes, expected) in cases {
        let mut session = server();
        session.handle_bytes(Instant::now(), &bytes);
        match event(&mut session) {
            Event::Closed { reason } => assert_eq!(reason, expected, "{bytes:02x?}"),
            other => panic!("{other:?}"),
        }
        assert!(sent(&mut session).is_empty());
    }
}

#[test]
fn what_follows_garbage_is_not_looked_at() {
    let mut session = server();
    let good = message(1, 0, tuple([3.into(), boxed(1, tuple([]))]));
    session.handle_bytes(Instant::now(), &[&good[..], &frame(b"\x01"), &good].concat());
    let all = events(&mut session);
    assert!(matches!(&all[..], [Event::Request { .. }, Event::Closed { .. }]), "{all:?}");
}

#[test]
fn a_value_too_deep_or_too_big_fails_its_message_alone() {
    let deep = (0..201).fold(Value::None, |inner, _| tuple([inner]));
    let long = Value::Int("7".repeat(4301).parse().unwrap());
    let many = Value::Tuple(vec![Value::None; 1_000_001]);
    let mut session = server();
    let mut client = Session::new(Instant::now(), Config::client(Dialect::V6));
    let cases = [
        (deep, DecodeErrorKind::TooDeep),
        (long, DecodeErrorKind::IntTooLong),
        (many, DecodeErrorKind::TooManyItems),
    ];
    for (seq, (value, kind)) in (0..).zip(cases) {
        let ping = tuple([1.into(), boxed(1, tuple([value.clone()]))]);
        session.handle_bytes(Instant::now(), &message(1, 0, ping));
        let answer = answers(&mut session).remove(0);
        assert_eq!(raised(&answer), ("ValueError", &[kind.to_string().into()][..]));

        client.get_root(CallOptions::default()).unwrap();
        client.handle_bytes(Instant::now(), &message(2, seq, boxed(1, value.clone())));
        let Event::Completed { outcome: Err(CallFailure::BadAnswer(refusal)), .. } =
            event(&mut client)
        else {
            panic!()
        };
        assert_eq!(refusal, Refusal::OverLimit(kind));
    }
}

#[test]
fn a_nest_of_boxes_cannot_overflow_the_stack() {
    // (2, ((2, ((2, ...
    let nest = |levels: usize| {
        frame(&[&b"\x01\x11\x50\x11\x53"[..], &b"\x11\x52\x10".repeat(levels)].concat())
    };
    let mut session = server();
    // So many values that the session does not look for the end of the nest.
    session.handle_bytes(Instant::now(), &nest(1_000_000));
    let answer = answers(&mut session).remove(0);
    assert_eq!(raised(&answer).0, "ValueError");
    // The nest has no end.
    session.handle_bytes(Instant::now(), &nest(300_000));
    assert!(matches!(
        event(&mut session),
        Event::Closed { reason: CloseReason::Body(error) } if error.kind == DecodeErrorKind::Truncated
    ));
}

fn some_bytes() -> impl Strategy<Value = Vec<u8>> {
    let tags = prop_oneof![
        4 => 0x50u8..0x65,
        4 => 0x10u8..0x14,
        1 => Just(0x02),
        1 => Just(0x00),
        1 => Just(0x08),
        1 => 0x0au8..0x0f,
        1 => any::<u8>(),
    ];
    prop::collection::vec(tags, 0..60)
}

proptest! {
    #[test]
    fn any_bytes_at_all_are_survived(
        bytes in prop::collection::vec(any::<u8>(), 0..300), step in 1usize..50,
    ) {
        let (mut session, ..) = server_with_object(Config::server());
        for piece in bytes.chunks(step) {
            session.handle_bytes(Instant::now(), piece);
        }
    }

    #[test]
    fn any_payloads_are_survived_and_answered_once(
        payloads in prop::collection::vec((1u8..4, 0i64..5, some_bytes()), 1..8),
    ) {
        let (mut session, ..) = server_with_object(Config::server());
        let mut expected = 0;
        for (kind, seq, body) in payloads {
            let seq = Value::from(seq).to_bytes().unwrap();
            let payload = [&[kind, 0x11][..], &seq, &body].concat();
            session.handle_bytes(Instant::now(), &frame(&payload));
            if session.is_closed() {
                return Ok(());
            }
            // It is brine, or so big that the session did not read to its end.
            if let Err(error) = decode(&body, &Limits::DEFAULT) {
                prop_assert_eq!(error.kind, DecodeErrorKind::IntTooLong);
            }
            expected += usize::from(kind == 1);
            let asked = std::iter::from_fn(|| session.poll_event())
                .filter(|event| matches!(event, Event::Request { .. }))
                .count();
            let answered = answers(&mut session).iter().filter(|seen| seen.kind != 1).count();
            expected -= asked + answered;
        }
        prop_assert_eq!(expected, 0);
    }

    #[test]
    fn the_pieces_do_not_change_what_happens(
        payloads in prop::collection::vec((1u8..4, 0i64..5, some_bytes()), 1..6),
        step in 1usize..30,
    ) {
        let stream: Vec<u8> = payloads
            .into_iter()
            .flat_map(|(kind, seq, body)| {
                let seq = Value::from(seq).to_bytes().unwrap();
                frame(&[&[kind, 0x11][..], &seq, &body].concat())
            })
            .collect();
        let run = |step: usize| {
            let (mut session, ..) = server_with_object(Config::server());
            for piece in stream.chunks(step) {
                session.handle_bytes(Instant::now(), piece);
            }
            (format!("{:?}", events(&mut session)), sent(&mut session), session.stats())
        };
        prop_assert_eq!(run(step), run(usize::MAX));
    }
}

#[test]
fn limits_hold_for_the_session_as_they_do_for_its_parts() {
    let limits = SessionLimits {
        message: Limits { bytes: 100, ..Limits::DEFAULT },
        frame: 50,
        ..SessionLimits::DEFAULT
    };
    let mut session = Session::new(Instant::now(), Config { limits, ..Config::server() });
    session.handle_bytes(Instant::now(), &51u32.to_be_bytes());
    assert!(!session.is_closed());
    session.handle_bytes(Instant::now(), &[0]);
    assert!(matches!(
        event(&mut session),
        Event::Closed { reason: CloseReason::Frame(FrameError::TooLong { len: 51, limit: 50 }) }
    ));
}
