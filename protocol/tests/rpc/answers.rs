//! A whole conversation: calls, callbacks, exceptions, the end.

use rpyc_protocol::brine::Value;
use rpyc_protocol::rpc::{
    Action, Arguments, Boxed, CallFailure, CallOptions, CloseReason, Comparison, Dialect, Event,
    Exception, Request, RequestError,
};

use super::pair::{
    Pair, answers, asked, boxed, class, completed, event, events, message, sent, server, tuple,
};

#[test]
fn a_call_takes_its_arguments_there_and_its_result_back() {
    let mut pair = Pair::new(Dialect::V6);
    let (root, proxy) = pair.root();
    let args = Arguments {
        positional: vec![1.into(), "zwei".into()],
        keyword: vec![("x".to_owned(), Boxed::Value(Value::Float(2.5)))],
    };
    let action = Action::CallAttr { name: "func".to_owned(), args };
    let call = pair.client.request(&proxy, &action, CallOptions::default()).unwrap();
    assert_eq!(pair.client.stats().calls, 1);
    pair.carry();
    let Event::Request { id, request } = event(&mut pair.server) else { panic!() };
    assert_eq!(request, Request::Object { object: root, action });
    pair.server.reply(id, &42.into()).unwrap();
    pair.carry();
    assert_eq!(completed(&mut pair.client, call), 42.into());
    assert_eq!(pair.client.stats().calls, 0);
    assert_eq!(pair.server.stats().requests, 0);
}

#[test]
fn every_action_arrives_as_it_was_sent() {
    let text = |text: &str| text.to_owned();
    let args = |positional| Arguments { positional, keyword: Vec::new() };
    let actions = [
        Action::GetAttr { name: text("a") },
        Action::DelAttr { name: text("a") },
        Action::SetAttr { name: text("a"), value: Boxed::NONE },
        Action::Call { args: args(vec![]) },
        Action::Call {
            args: Arguments {
                positional: vec![tuple([1.into(), 2.into()]).into()],
                keyword: vec![(text("a"), 1.into()), (text("b"), Boxed::NONE)],
            },
        },
        Action::CallAttr { name: text("__len__"), args: args(vec![]) },
        Action::Repr,
        Action::Str,
        Action::Cmp { other: 5.into(), comparison: Comparison::Eq },
        Action::Cmp { other: 5.into(), comparison: Comparison::Ge },
        Action::Hash,
        Action::Dir,
        Action::Pickle { protocol: -1 },
        Action::Inspect,
        Action::BuffIter { count: 1000 },
        Action::OldSlicing {
            name: text("__getitem__"),
            fallback: text("__getslice__"),
            start: 0.into(),
            stop: Boxed::NONE,
            args: vec![7.into()],
        },
        Action::CtxExit { exception: Boxed::NONE },
        Action::InstanceCheck { other: tuple(["x.Y".into(), 1.into(), 2.into()]) },
    ];
    for dialect in [Dialect::V6, Dialect::V5, Dialect::V6.with_bind_threads()] {
        let mut pair = Pair::new(dialect);
        let (root, proxy) = pair.root();
        for action in &actions {
            pair.client.request(&proxy, action, CallOptions::default()).unwrap();
            pair.carry();
            let Event::Request { id, request: Request::Object { object, action: arrived } } =
                event(&mut pair.server)
            else {
                panic!("{action:?}")
            };
            assert_eq!((object, &arrived), (root, action));
            pair.server.reply(id, &Boxed::NONE).unwrap();
            pair.carry();
            let Event::Completed { outcome: Ok(Boxed::Value(Value::None)), .. } =
                event(&mut pair.client)
            else {
                panic!("{action:?}")
            };
        }
    }
}

#[test]
fn a_callback_runs_while_the_call_waits() {
    let mut pair = Pair::new(Dialect::V6);
    let (_, proxy) = pair.root();
    let callback = pair.client.export(&class()).unwrap();
    let (call, outer) = pair.call(&proxy, vec![callback.into()]);
    let [Boxed::Remote(function)] = &outer.positional[..] else { panic!() };

    let args = Arguments { positional: vec![21.into()], keyword: Vec::new() };
    let options = CallOptions { within: outer.id.thread(), ..CallOptions::default() };
    let inner = pair.server.request(function, &Action::Call { args }, options).unwrap();
    pair.server.release(function);
    pair.carry();
    let mut at_client = events(&mut pair.client).into_iter();
    let Some(Event::Request { id, .. }) = at_client.next() else { panic!() };
    // The peer let go of the callback right after asking for it to be called.
    assert!(matches!(at_client.next(), Some(Event::Dropped { object }) if object == callback));
    pair.client.reply(id, &42.into()).unwrap();
    pair.carry();
    assert_eq!(completed(&mut pair.server, inner), 42.into());
    pair.server.reply(outer.id, &43.into()).unwrap();
    pair.carry();
    assert_eq!(completed(&mut pair.client, call), 43.into());
    assert_eq!(pair.client.stats().exports, 0);
    assert_eq!(pair.server.stats().imports, 0);
}

#[test]
fn answers_may_come_in_any_order() {
    let mut pair = Pair::new(Dialect::V6);
    let (_, proxy) = pair.root();
    let calls: Vec<_> = (0..3).map(|number| pair.call(&proxy, vec![number.into()])).collect();
    for (call, asked) in calls.into_iter().rev() {
        let echo = asked.positional[0].clone();
        pair.server.reply(asked.id, &echo).unwrap();
        pair.carry();
        assert_eq!(completed(&mut pair.client, call), echo);
    }
}

#[test]
fn exceptions_arrive_with_all_that_is_in_them() {
    for (dialect, version) in [(Dialect::V6, "6.0.2"), (Dialect::V5, "5.3.1")] {
        let mut pair = Pair::new(dialect);
        let (_, proxy) = pair.root();
        let sent = Exception::new("payroll", "NoSuchEmployee", vec!["Mertz".into(), 7.into()])
            .with_attribute("hint", "try David")
            .with_traceback("in get_salary\n");
        let (_, asked) = pair.call(&proxy, vec![]);
        pair.server.raise(asked.id, &sent).unwrap();
        pair.carry();
        let Event::Completed { outcome: Err(CallFailure::Raised(arrived)), .. } =
            event(&mut pair.client)
        else {
            panic!()
        };
        assert_eq!(arrived.remote_version(), Some(version));
        let expected = sent.with_attribute("_remote_version", version);
        assert_eq!(*arrived, expected);
    }
}

#[test]
fn the_end_of_an_iterator_is_a_short_message() {
    let mut pair = Pair::new(Dialect::V6);
    let (_, proxy) = pair.root();
    let (_, asked) = pair.call(&proxy, vec![]);
    let seq = sent(&mut pair.server);
    assert!(seq.is_empty());
    pair.server.raise(asked.id, &Exception::stop_iteration()).unwrap();
    let bytes = sent(&mut pair.server);
    assert_eq!(bytes, [0, 0, 0, 4, 0, 3, 0x11, 0x51, 0x51, b'\n']);
    pair.client.handle_bytes(pair.now, &bytes);
    let Event::Completed { outcome: Err(CallFailure::Raised(arrived)), .. } =
        event(&mut pair.client)
    else {
        panic!()
    };
    assert!(arrived.is_builtin("StopIteration"));
}

#[test]
fn a_ping_is_answered_by_the_session() {
    let mut pair = Pair::new(Dialect::V6);
    let data = Value::from("abcdefghijklmnopqrstuvwxyz".repeat(20));
    let call = pair.client.ping(&data, CallOptions::default()).unwrap();
    pair.carry();
    assert!(pair.server.poll_event().is_none());
    assert_eq!(completed(&mut pair.client, call), Boxed::Value(data));
}

#[test]
fn a_goodbye_ends_both_sides() {
    let mut pair = Pair::new(Dialect::V6);
    let (_, proxy) = pair.root();
    let (call, _unanswered) = pair.call(&proxy, vec![]);
    pair.client.close();
    assert!(matches!(
        &events(&mut pair.client)[..],
        [
            Event::Completed {
                call: ended,
                outcome: Err(CallFailure::Closed { may_have_run: true }),
            },
            Event::Closed { reason: CloseReason::Local },
        ] if *ended == call
    ));
    pair.carry();
    assert!(matches!(event(&mut pair.server), Event::Closed { reason: CloseReason::Peer }));
    assert!(pair.server.is_closed());
    assert_eq!(pair.client.get_root(CallOptions::default()), Err(RequestError::Closed));
    // Answers that come too late are not an error.
    pair.server.reply(_unanswered.id, &Boxed::NONE).unwrap();
    assert!(sent(&mut pair.server).is_empty());
    pair.server.close();
    pair.server.handle_eof();
    pair.server.handle_bytes(pair.now, b"whatever");
    assert!(pair.server.poll_event().is_none());
    assert_eq!(pair.server.poll_timeout(), None);
}

#[test]
fn the_end_of_the_stream_ends_the_session() {
    let mut session = server();
    session.handle_eof();
    assert!(matches!(event(&mut session), Event::Closed { reason: CloseReason::Ended }));
    let mut session = server();
    session.handle_bytes(std::time::Instant::now(), b"\0\0\0");
    session.handle_eof();
    assert!(matches!(event(&mut session), Event::Closed { reason: CloseReason::Truncated }));
}

#[test]
fn what_was_never_handed_out_cannot_have_run() {
    let mut pair = Pair::new(Dialect::V6);
    let (_, proxy) = pair.root();
    pair.client.request(&proxy, &Action::Str, CallOptions::default()).unwrap();
    let _lost = sent(&mut pair.client);
    pair.client.request(&proxy, &Action::Repr, CallOptions::default()).unwrap();
    pair.client.handle_eof();
    let outcomes: Vec<_> = events(&mut pair.client)
        .into_iter()
        .filter_map(|event| match event {
            Event::Completed { outcome: Err(failure), .. } => Some(failure),
            _ => None,
        })
        .collect();
    let closed = |may_have_run| CallFailure::Closed { may_have_run };
    assert_eq!(outcomes, [closed(true), closed(false)]);
}

#[test]
fn the_number_of_a_request_is_echoed_whatever_it_is() {
    let seqs = [
        Value::from(-5),
        Value::from("odd"),
        Value::Int("123456789012345678901234567890".parse().unwrap()),
        tuple([1.into(), Value::None]),
        Value::Float(0.5),
    ];
    for seq in seqs {
        let mut session = server();
        let now = std::time::Instant::now();
        session.handle_bytes(now, &message(1, seq.clone(), tuple([3.into(), boxed(1, tuple([]))])));
        let Event::Request { id, .. } = event(&mut session) else { panic!("{seq:?}") };
        session.reply(id, &Boxed::NONE).unwrap();
        assert_eq!(answers(&mut session)[0].seq, seq);
        // Also by the session itself.
        session.handle_bytes(now, &message(1, seq.clone(), Value::None));
        assert_eq!(answers(&mut session)[0].seq, seq);
    }
}

#[test]
fn an_answer_that_nobody_asked_for_is_ignored() {
    let mut pair = Pair::new(Dialect::V6);
    let (_, _proxy) = pair.root();
    for seq in [Value::from(0), 99.into(), (-1).into(), "odd".into()] {
        pair.client.handle_bytes(pair.now, &message(2, seq.clone(), boxed(1, Value::None)));
        pair.client.handle_bytes(pair.now, &message(3, seq, 1.into()));
    }
    assert!(pair.client.poll_event().is_none());
    assert!(!pair.client.is_closed());
}

#[test]
fn a_tuple_of_values_is_the_same_in_one_box_and_in_many() {
    let (mut session, _, pack) =
        super::pair::server_with_object(rpyc_protocol::rpc::Config::server());
    let now = std::time::Instant::now();
    let one = tuple([1.into(), "a".into()]);
    let many = tuple([boxed(1, 1), boxed(1, "a")]);
    for args in [boxed(1, one), boxed(2, many)] {
        let body = tuple([7.into(), boxed(2, tuple([boxed(3, pack.clone()), args]))]);
        session.handle_bytes(now, &message(1, 1, body));
        let asked = asked(&mut session);
        assert_eq!(asked.positional, [1.into(), "a".into()]);
        session.reply(asked.id, &Boxed::tuple(asked.positional)).unwrap();
        assert_eq!(answers(&mut session)[0].body, boxed(1, tuple([1.into(), "a".into()])));
    }
}

#[test]
fn everything_may_move_between_threads() {
    fn check<T: Send + Sync>() {}
    check::<rpyc_protocol::rpc::Session>();
    check::<Event>();
    check::<Boxed>();
}
