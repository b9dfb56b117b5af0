//! Every limit of a session, at its edge.

use std::time::Instant;

use rpyc_protocol::Limits;
use rpyc_protocol::brine::Value;
use rpyc_protocol::rpc::{
    Action, Arguments, Boxed, CallFailure, CallOptions, CloseReason, Config, Dialect, Event,
    Exception, RequestError, SessionLimits, Unsendable,
};

use super::pair::{
    Pair, answers, boxed, class, event, events, message, raised, server_with_object, tuple,
};

fn limited(limits: SessionLimits) -> Pair {
    Pair::with(
        Config { limits, ..Config::client(Dialect::V6) },
        Config { limits, ..Config::server() },
    )
}

fn call(args: Vec<Boxed>) -> Action {
    Action::Call { args: Arguments { positional: args, keyword: Vec::new() } }
}

#[test]
fn calls_of_ours() {
    let mut pair = limited(SessionLimits { calls: 2, ..SessionLimits::DEFAULT });
    let (_, proxy) = pair.root();
    let first = pair.client.request(&proxy, &Action::Str, CallOptions::default()).unwrap();
    pair.client.request(&proxy, &Action::Str, CallOptions::default()).unwrap();
    let unsent = pair.client.stats().unsent;
    let object = pair.client.export(&class()).unwrap();
    assert_eq!(
        pair.client.request(&proxy, &call(vec![object.into()]), CallOptions::default()),
        Err(RequestError::TooManyCalls { limit: 2 })
    );
    // Nothing was sent, and the object that only this call would have carried is dropped.
    assert_eq!(pair.client.stats().unsent, unsent);
    assert!(matches!(event(&mut pair.client), Event::Dropped { object: gone } if gone == object));
    assert_eq!(pair.client.stats().exports, 0);
    pair.client.cancel(first);
    pair.client.request(&proxy, &Action::Str, CallOptions::default()).unwrap();
}

#[test]
fn requests_of_the_peer() {
    let limits = SessionLimits { requests: 2, ..SessionLimits::DEFAULT };
    let mut pair = Pair::with(Config::client(Dialect::V6), Config { limits, ..Config::server() });
    let (_, proxy) = pair.root();
    let object = pair.client.export(&class()).unwrap();
    for _ in 0..3 {
        let action = call(vec![object.into()]);
        pair.client.request(&proxy, &action, CallOptions::default()).unwrap();
    }
    pair.carry();
    let mut served = events(&mut pair.server);
    assert_eq!(served.len(), 2);
    let refused = event(&mut pair.client);
    let Event::Completed { outcome: Err(CallFailure::Raised(exception)), .. } = refused else {
        panic!()
    };
    assert_eq!(exception.to_string(), "RuntimeError: too many requests at a time");
    // The reference in the request that was refused is with the other two.
    let Some(Event::Request { id, .. }) = served.pop() else { panic!() };
    pair.server.reply(id, &Boxed::NONE).unwrap();
    pair.client.request(&proxy, &Action::Str, CallOptions::default()).unwrap();
    pair.carry();
    assert!(matches!(event(&mut pair.server), Event::Request { .. }));
    // What the session answers itself does not count.
    pair.client.ping(&Value::None, CallOptions::default()).unwrap();
    pair.carry();
    assert!(matches!(
        events(&mut pair.client).last(),
        Some(Event::Completed { outcome: Ok(_), .. })
    ));
}

#[test]
fn bytes_of_requests_being_served() {
    let limits = SessionLimits { request_bytes: 1000, ..SessionLimits::DEFAULT };
    let mut pair = Pair::with(Config::client(Dialect::V6), Config { limits, ..Config::server() });
    let (_, proxy) = pair.root();
    let long = || call(vec![Value::Bytes(vec![7; 2000]).into()]);
    for _ in 0..2 {
        pair.client.request(&proxy, &long(), CallOptions::default()).unwrap();
    }
    pair.carry();
    // The first was accepted, long as it is; no second one fit beside it.
    let Event::Request { id, .. } = event(&mut pair.server) else { panic!() };
    assert!(matches!(
        event(&mut pair.client),
        Event::Completed { outcome: Err(CallFailure::Raised(_)), .. }
    ));
    pair.server.reply(id, &Boxed::NONE).unwrap();
    pair.client.request(&proxy, &long(), CallOptions::default()).unwrap();
    pair.carry();
    assert!(matches!(event(&mut pair.server), Event::Request { .. }));
}

/// A value may be one byte on the wire, and takes much more room than that.
#[test]
fn values_of_requests_being_served() {
    let limits = SessionLimits { request_bytes: 20_000, ..SessionLimits::DEFAULT };
    let mut pair = Pair::with(Config::client(Dialect::V6), Config { limits, ..Config::server() });
    let (_, proxy) = pair.root();
    for _ in 0..2 {
        let many = call(vec![Value::Tuple(vec![Value::None; 2000]).into()]);
        pair.client.request(&proxy, &many, CallOptions::default()).unwrap();
    }
    pair.carry();
    let Event::Request { id, .. } = event(&mut pair.server) else { panic!() };
    assert!(matches!(
        event(&mut pair.client),
        Event::Completed { outcome: Err(CallFailure::Raised(_)), .. }
    ));
    pair.server.reply(id, &Boxed::NONE).unwrap();
    for _ in 0..5 {
        pair.client.request(&proxy, &call(vec![]), CallOptions::default()).unwrap();
    }
    pair.carry();
    assert_eq!(events(&mut pair.server).len(), 5, "served requests take no room");
}

#[test]
fn objects_offered() {
    let mut pair = limited(SessionLimits { exports: 2, ..SessionLimits::DEFAULT });
    let first = pair.server.export(&class()).unwrap();
    let second = pair.server.export(&class()).unwrap();
    assert_ne!(first, second);
    let error = pair.server.export(&class()).unwrap_err();
    assert_eq!(error.to_string(), "more than 2 objects are offered to one peer");
    // The message for which they were offered will not be sent.
    assert!(pair.server.withdraw(first) && !pair.server.withdraw(first));
    assert!(matches!(event(&mut pair.server), Event::Dropped { object } if object == first));
    assert!(pair.server.is_exported(second) && !pair.server.is_exported(first));
    pair.server.export(&class()).unwrap();
}

#[test]
fn what_the_peer_holds_is_not_withdrawn() {
    let mut pair = Pair::new(Dialect::V6);
    let (root, _proxy) = pair.root();
    assert!(!pair.server.withdraw(root));
    assert!(pair.server.is_exported(root) && pair.server.poll_event().is_none());
}

#[test]
fn answers_that_are_never_read() {
    let limits = SessionLimits { backlog: 10_000, ..SessionLimits::DEFAULT };
    let (mut session, ..) = server_with_object(Config { limits, ..Config::server() });
    let ping = message(1, 0, tuple([1.into(), boxed(1, tuple(["x".repeat(1000).into()]))]));
    for _ in 0..9 {
        session.handle_bytes(Instant::now(), &ping);
    }
    assert!(!session.is_closed());
    assert!(session.stats().unsent > 9000);
    let read = answers(&mut session);
    assert_eq!(read.len(), 9);
    for _ in 0..10 {
        session.handle_bytes(Instant::now(), &ping);
    }
    assert!(matches!(event(&mut session), Event::Closed { reason: CloseReason::Backlog }));
    assert_eq!(session.stats().unsent, 0);
}

#[test]
fn what_a_peer_could_not_read_is_not_sent() {
    let limits = SessionLimits {
        message: Limits { depth: 10, int_digits: 50, items: 1000, bytes: 4000 },
        ..SessionLimits::DEFAULT
    };
    let nested = |levels: usize| (0..levels).fold(Value::None, |inner, _| tuple([inner]));
    let int = |digits: usize| Value::Int(format!("-{}", "9".repeat(digits)).parse().unwrap());
    let none = |len: usize| Value::Tuple(vec![Value::None; len]);
    let cases = [
        (nested(10), nested(11), Unsendable::TooDeep { limit: 10 }),
        (int(50), int(51), Unsendable::IntTooLong { limit: 50 }),
        (int(50), int(5000), Unsendable::IntTooLong { limit: 50 }),
        (none(980), none(1000), Unsendable::TooManyItems { limit: 1000 }),
    ];
    for (good, bad, error) in cases {
        let mut pair = limited(limits);
        let (_, proxy) = pair.root();
        for in_box in [Boxed::Value(good.clone()), Boxed::Value(bad.clone())] {
            let is_good = in_box == Boxed::Value(good.clone());
            let (call, asked) = pair.call(&proxy, vec![]);
            let sent = pair.server.reply(asked.id, &in_box);
            assert_eq!(sent, if is_good { Ok(()) } else { Err(error) });
            pair.carry();
            // One answer in either case.
            let Event::Completed { call: ended, outcome } = event(&mut pair.client) else {
                panic!()
            };
            assert_eq!(ended, call);
            match outcome {
                Ok(result) => assert!(is_good && result == in_box),
                Err(CallFailure::Raised(exception)) => {
                    assert!(!is_good && exception.is_builtin("ValueError"), "{exception}");
                }
                Err(other) => panic!("{other}"),
            }
        }
        // Neither as an exception nor as an argument.
        let (_, asked) = pair.call(&proxy, vec![]);
        let exception = Exception::new("x", "Y", vec![bad.clone()]);
        assert_eq!(pair.server.raise(asked.id, &exception), Err(error));
        pair.carry();
        assert!(matches!(
            event(&mut pair.client),
            Event::Completed { outcome: Err(CallFailure::Raised(_)), .. }
        ));
        let refused = pair.client.request(&proxy, &call(vec![bad.into()]), CallOptions::default());
        assert_eq!(refused, Err(RequestError::Unsendable(error)));
        assert_eq!((pair.client.stats().calls, pair.client.stats().unsent), (0, 0));
    }
}

#[test]
fn a_message_too_long_is_not_sent() {
    let limits = SessionLimits {
        message: Limits { bytes: 5000, ..Limits::DEFAULT },
        ..SessionLimits::DEFAULT
    };
    let mut pair = limited(limits);
    let (_, proxy) = pair.root();
    let (_, asked) = pair.call(&proxy, vec![]);
    let object = pair.server.export(&class()).unwrap();
    let long = Boxed::tuple(vec![object.into(), Value::Bytes(vec![0; 5000]).into()]);
    let error = pair.server.reply(asked.id, &long).unwrap_err();
    assert!(matches!(error, Unsendable::TooLong(_)), "{error}");
    // The object went with it.
    assert!(matches!(event(&mut pair.server), Event::Dropped { object: gone } if gone == object));
    assert_eq!(pair.server.stats().exports, 1);
    pair.carry();
    assert!(matches!(
        event(&mut pair.client),
        Event::Completed { outcome: Err(CallFailure::Raised(_)), .. }
    ));
}

#[test]
fn an_object_that_is_gone_cannot_be_sent() {
    let mut pair = Pair::new(Dialect::V6);
    let (root, proxy) = pair.root();
    let (_, asked) = pair.call(&proxy, vec![]);
    pair.client.release(&proxy);
    pair.carry();
    assert!(matches!(event(&mut pair.server), Event::Dropped { object } if object == root));
    assert_eq!(pair.server.reply(asked.id, &root.into()), Err(Unsendable::UnknownObject(root)));
    let answer = answers(&mut pair.server).remove(0);
    assert_eq!(raised(&answer).0, "ValueError");
}
