//! Time, which comes in as an argument.

use std::time::{Duration, Instant};

use rpyc_protocol::brine::Value;
use rpyc_protocol::rpc::{
    Action, Boxed, CallFailure, CallOptions, CloseReason, Config, Dialect, Event, Session,
    SessionLimits,
};

use super::pair::{Pair, asked, boxed, completed, event, events, message, sent, server, tuple};

const SECOND: Duration = Duration::from_secs(1);

fn by(deadline: Instant) -> CallOptions {
    CallOptions { deadline: Some(deadline), ..CallOptions::default() }
}

#[test]
fn a_call_expires_at_its_deadline_and_its_late_answer_is_ignored() {
    let mut pair = Pair::new(Dialect::V6);
    let (_, proxy) = pair.root();
    let start = pair.now;
    let late = pair.client.request(&proxy, &Action::Str, by(start + 2 * SECOND)).unwrap();
    let later = pair.client.request(&proxy, &Action::Repr, by(start + 3 * SECOND)).unwrap();
    let never = pair.client.request(&proxy, &Action::Hash, CallOptions::default()).unwrap();
    assert_eq!(pair.client.poll_timeout(), Some(start + 2 * SECOND));
    pair.carry();

    pair.client.handle_timeout(start + 2 * SECOND - Duration::from_nanos(1));
    assert!(pair.client.poll_event().is_none());
    pair.client.handle_timeout(start + 2 * SECOND);
    let Event::Completed { call, outcome: Err(CallFailure::Expired { may_have_run: true }) } =
        event(&mut pair.client)
    else {
        panic!()
    };
    assert_eq!(call, late);
    assert_eq!(pair.client.poll_timeout(), Some(start + 3 * SECOND));
    assert_eq!(pair.client.stats().calls, 2);

    for request in events(&mut pair.server) {
        let Event::Request { id, .. } = request else { panic!() };
        pair.server.reply(id, &"answer".into()).unwrap();
    }
    pair.carry();
    let answered: Vec<_> = events(&mut pair.client)
        .into_iter()
        .map(|event| match event {
            Event::Completed { call, outcome: Ok(_) } => call,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(answered, [later, never]);
    assert_eq!(pair.client.poll_timeout(), None);
}

#[test]
fn an_answer_before_the_clock_is_looked_at_still_counts() {
    let mut pair = Pair::new(Dialect::V6);
    let (_, proxy) = pair.root();
    let call = pair.client.request(&proxy, &Action::Str, by(pair.now + SECOND)).unwrap();
    pair.carry();
    let Event::Request { id, .. } = event(&mut pair.server) else { panic!() };
    pair.server.reply(id, &"just so".into()).unwrap();
    let bytes = sent(&mut pair.server);
    pair.client.handle_bytes(pair.now + 9 * SECOND, &bytes);
    assert_eq!(completed(&mut pair.client, call), "just so".into());
}

#[test]
fn a_request_that_expires_unsent_cannot_have_run() {
    let mut pair = Pair::new(Dialect::V6);
    let (_, proxy) = pair.root();
    pair.client.request(&proxy, &Action::Str, by(pair.now)).unwrap();
    pair.client.handle_timeout(pair.now);
    let Event::Completed { outcome: Err(CallFailure::Expired { may_have_run: false }), .. } =
        event(&mut pair.client)
    else {
        panic!()
    };
}

#[test]
fn a_cancelled_call_leaves_nothing_behind() {
    let mut pair = Pair::new(Dialect::V6);
    let (_, proxy) = pair.root();
    let call = pair.client.request(&proxy, &Action::Str, by(pair.now + SECOND)).unwrap();
    pair.carry();
    assert!(pair.client.cancel(call));
    assert!(!pair.client.cancel(call));
    assert_eq!(pair.client.poll_timeout(), None);
    // The late answer brings an object, which is released.
    let Event::Request { id, .. } = event(&mut pair.server) else { panic!() };
    let late = pair.server.export(&super::pair::class()).unwrap();
    pair.server.reply(id, &late.into()).unwrap();
    pair.carry();
    assert!(pair.client.poll_event().is_none());
    assert!(matches!(event(&mut pair.server), Event::Dropped { object } if object == late));
    assert_eq!((pair.client.stats().imports, pair.server.stats().exports), (1, 1));
}

#[test]
fn a_frame_that_does_not_go_on_ends_the_session() {
    let mut session = server();
    let start = Instant::now();
    let bytes = message(1, 0, tuple([3.into(), boxed(1, tuple([]))]));
    session.handle_bytes(start, &bytes[..3]);
    assert_eq!(session.poll_timeout(), Some(start + 5 * SECOND));
    session.handle_bytes(start + 4 * SECOND, &bytes[3..]);
    assert_eq!(session.poll_timeout(), None);
    assert!(matches!(event(&mut session), Event::Request { .. }));

    // The end of one and the beginning of the next: the time is the next one's.
    session.handle_bytes(start + 5 * SECOND, &bytes[..6]);
    session.handle_bytes(start + 9 * SECOND, &[&bytes[6..], &bytes[..6]].concat());
    assert!(matches!(event(&mut session), Event::Request { .. }));
    assert_eq!(session.poll_timeout(), Some(start + 14 * SECOND));
    session.handle_timeout(start + 14 * SECOND);
    assert!(matches!(event(&mut session), Event::Closed { reason: CloseReason::Stalled }));
    assert!(sent(&mut session).is_empty());
}

/// A frame of `len` zeros in an echo, without its last byte.
fn most_of_a_frame(len: usize) -> Vec<u8> {
    let mut bytes = message(1, 0, tuple([1.into(), boxed(1, tuple([Value::Bytes(vec![0; len])]))]));
    bytes.pop();
    bytes
}

#[test]
fn a_frame_that_trickles_ends_the_session() {
    let mut session = server();
    let start = Instant::now();
    for (second, byte) in (0..).step_by(4).zip(most_of_a_frame(1 << 20)) {
        session.handle_timeout(start + second * SECOND);
        if session.is_closed() {
            assert_eq!(second, 8, "the first look at the clock after 5 s");
            break;
        }
        session.handle_bytes(start + second * SECOND, &[byte]);
    }
    assert!(matches!(event(&mut session), Event::Closed { reason: CloseReason::Stalled }));
}

#[test]
fn a_long_frame_on_a_slow_line_takes_its_time() {
    let mut session = server();
    let start = Instant::now();
    let bytes = most_of_a_frame(1 << 20);
    let mut second = 0;
    // A kilobyte a second: less than a modem.
    for piece in bytes.chunks(1024) {
        session.handle_timeout(start + second * SECOND);
        session.handle_bytes(start + second * SECOND, piece);
        second += 1;
    }
    assert!(!session.is_closed());
    session.handle_bytes(start + second * SECOND, b"\n");
    assert!(!sent(&mut session).is_empty());
    assert_eq!(session.poll_timeout(), None);
}

#[test]
fn a_peer_that_does_not_read_ends_the_session() {
    let limits = SessionLimits { unread: 60 * SECOND, ..SessionLimits::DEFAULT };
    let mut session = Session::new(Instant::now(), Config { limits, ..Config::server() });
    let start = Instant::now();
    let ping = message(1, 0, tuple([1.into(), boxed(1, tuple(["x".repeat(2000).into()]))]));
    let ask_much = |session: &mut Session, at| {
        for _ in 0..100 {
            session.handle_bytes(at, &ping);
        }
        sent(session).len()
    };
    let len = ask_much(&mut session, start);
    // It reads a little now and then, and all in the end.
    session.handle_blocked(start, len);
    assert_eq!(session.poll_timeout(), Some(start + 60 * SECOND));
    session.handle_blocked(start + 50 * SECOND, len - 5000);
    assert_eq!(session.poll_timeout(), Some(start + 110 * SECOND));
    session.handle_timeout(start + 60 * SECOND);
    assert!(sent(&mut session).is_empty());
    assert_eq!(session.poll_timeout(), None);
    session.handle_timeout(start + 200 * SECOND);
    assert!(!session.is_closed());

    // A byte now and then is not enough.
    let len = ask_much(&mut session, start + 200 * SECOND);
    for second in 200..260 {
        session.handle_blocked(start + second * SECOND, len - (second as usize - 200));
        session.handle_timeout(start + second * SECOND);
    }
    assert!(!session.is_closed());
    session.handle_timeout(start + 260 * SECOND);
    assert!(matches!(event(&mut session), Event::Closed { reason: CloseReason::Unread }));
    assert_eq!(session.stats().unsent, 0);
}

#[test]
fn a_connection_without_use_is_closed_if_so_wished() {
    let limits = SessionLimits { idle: Some(10 * SECOND), ..SessionLimits::DEFAULT };
    let mut pair = Pair::with(Config::client(Dialect::V6), Config { limits, ..Config::server() });
    let start = pair.now;
    let server = |pair: &mut Pair, second: u32| {
        pair.server.handle_timeout(start + second * SECOND);
        (pair.server.is_closed(), pair.server.poll_timeout())
    };
    let (_, proxy) = pair.root();
    // Something happened in the first 10 seconds.
    assert_eq!(pair.server.poll_timeout(), Some(start + 10 * SECOND));
    assert_eq!(server(&mut pair, 10), (false, Some(start + 20 * SECOND)));
    // A request is being served, however long it takes.
    let (_, asked) = pair.call(&proxy, vec![]);
    assert_eq!(server(&mut pair, 20), (false, Some(start + 30 * SECOND)));
    assert_eq!(server(&mut pair, 30), (false, Some(start + 40 * SECOND)));
    pair.server.reply(asked.id, &Boxed::NONE).unwrap();
    assert_eq!(server(&mut pair, 40), (false, Some(start + 50 * SECOND)));
    // Nothing happens any more.
    assert_eq!(server(&mut pair, 50), (true, None));
    assert!(matches!(event(&mut pair.server), Event::Closed { reason: CloseReason::Idle }));
    // The peer is notified.
    pair.carry();
    assert!(matches!(
        events(&mut pair.client).last(),
        Some(Event::Closed { reason: CloseReason::Peer })
    ));
}

#[test]
fn a_connection_that_never_spoke_is_closed_without_a_word() {
    let start = Instant::now();
    let limits = SessionLimits { idle: Some(SECOND), ..SessionLimits::DEFAULT };
    let mut session = Session::new(start, Config { limits, ..Config::server() });
    session.handle_timeout(start + SECOND);
    assert!(matches!(event(&mut session), Event::Closed { reason: CloseReason::Idle }));
    assert!(sent(&mut session).is_empty());
}

#[test]
fn a_deadline_within_another_call_is_its_own() {
    let mut pair = Pair::new(Dialect::V6);
    let (_, proxy) = pair.root();
    let function = pair.client.export(&super::pair::class()).unwrap();
    let (outer, serving) = pair.call(&proxy, vec![function.into()]);
    let [Boxed::Remote(function)] = &serving.positional[..] else { panic!() };
    let args = rpyc_protocol::rpc::Arguments::default();
    let options = by(pair.now + SECOND);
    pair.server.request(function, &Action::Call { args }, options).unwrap();
    pair.carry();
    let _unanswered = asked(&mut pair.client);
    pair.server.handle_timeout(pair.now + SECOND);
    assert!(matches!(
        event(&mut pair.server),
        Event::Completed { outcome: Err(CallFailure::Expired { .. }), .. }
    ));
    pair.server.reply(serving.id, &"gave up".into()).unwrap();
    pair.carry();
    assert_eq!(completed(&mut pair.client, outer), "gave up".into());
}
