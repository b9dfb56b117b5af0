//! Two sessions with a wire between them, and helpers to write bytes by hand.

use std::time::Instant;

use rpyc_protocol::Limits;
use rpyc_protocol::brine::{Value, decode};
use rpyc_protocol::rpc::{
    Action, Arguments, Boxed, CallId, CallOptions, Class, Config, Dialect, Event, FrameDecoder,
    IdPack, Message, ObjectId, Request, RequestId, Session, Threads,
};

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// A frame with this payload, not compressed.
pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[..], &[0], payload, b"\n"].concat()
}

/// A frame with a message of rpyc 6.
pub(crate) fn message(kind: u8, seq: impl Into<Value>, body: Value) -> Vec<u8> {
    let brine = Value::Tuple(vec![seq.into(), body]).to_bytes().unwrap();
    frame(&[&[kind], &brine[..]].concat())
}

pub(crate) fn tuple<const N: usize>(members: [Value; N]) -> Value {
    Value::Tuple(members.into())
}

pub(crate) fn boxed(label: i64, content: impl Into<Value>) -> Value {
    tuple([label.into(), content.into()])
}

/// One message as it stands in a stream.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) kind: u8,
    pub(crate) threads: Option<Threads>,
    pub(crate) seq: Value,
    pub(crate) body: Value,
}

/// All messages in a stream of whole frames.
pub(crate) fn messages(dialect: Dialect, bytes: &[u8]) -> Vec<Seen> {
    let mut decoder = FrameDecoder::new(usize::MAX, usize::MAX);
    let mut input = bytes;
    let mut seen = Vec::new();
    while let Some(payload) = decoder.next_payload(&mut input).unwrap() {
        let message = Message::decode(payload, dialect, &Limits::DEFAULT).unwrap();
        let seq = match message.seq {
            rpyc_protocol::rpc::Seq::Number(number) => number.into(),
            rpyc_protocol::rpc::Seq::Other(brine) => decode(&brine, &Limits::DEFAULT).unwrap(),
        };
        let body = decode(message.body, &Limits::DEFAULT).unwrap();
        seen.push(Seen { kind: message.kind as u8, threads: message.threads, seq, body });
    }
    assert!(!decoder.is_partial());
    seen
}

/// Takes what a session has to send.
pub(crate) fn sent(session: &mut Session) -> Vec<u8> {
    let mut out = Vec::new();
    session.poll_transmit(&mut out);
    out
}

/// Takes what a session has to send to a peer of rpyc 6.
pub(crate) fn answers(session: &mut Session) -> Vec<Seen> {
    messages(Dialect::V6, &sent(session))
}

pub(crate) fn events(session: &mut Session) -> Vec<Event> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

/// The one event that there is.
pub(crate) fn event(session: &mut Session) -> Event {
    let mut all = events(session);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// The type and the arguments of an exception as it stands on the wire.
pub(crate) fn raised(seen: &Seen) -> (&str, &[Value]) {
    assert_eq!(seen.kind, 3, "{seen:?}");
    let Value::Tuple(parts) = &seen.body else { panic!("{seen:?}") };
    let (Value::Tuple(class), Value::Tuple(args)) = (&parts[0], &parts[1]) else {
        panic!("{seen:?}")
    };
    let Value::Str(name) = &class[1] else { panic!("{seen:?}") };
    (name, args)
}

pub(crate) fn server() -> Session {
    Session::new(Instant::now(), Config::server())
}

pub(crate) fn class() -> Class {
    Class::new("ledger.Book", 7)
}

/// A server that has given out one object, whose id pack comes along.
pub(crate) fn server_with_object(config: Config) -> (Session, ObjectId, Value) {
    let mut session = Session::new(Instant::now(), config);
    session.handle_bytes(Instant::now(), &message(1, 0, tuple([3.into(), boxed(1, tuple([]))])));
    let Event::Request { id, request: Request::Root } = event(&mut session) else { panic!() };
    let object = session.export(&class()).unwrap();
    session.reply(id, &object.into()).unwrap();
    let reply = answers(&mut session).remove(0);
    let Value::Tuple(mut boxed) = reply.body else { panic!() };
    let pack = boxed.remove(1);
    (session, object, pack)
}

/// Two ends of one connection.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) client: Session,
    pub(crate) server: Session,
}

impl Pair {
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self::with(Config::client(dialect), Config::server())
    }

    pub(crate) fn with(client: Config, server: Config) -> Self {
        let now = Instant::now();
        Self { now, client: Session::new(now, client), server: Session::new(now, server) }
    }

    /// Carries bytes both ways until none are left.
    pub(crate) fn carry(&mut self) {
        loop {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            let moved =
                self.client.poll_transmit(&mut there) | self.server.poll_transmit(&mut back);
            self.server.handle_bytes(self.now, &there);
            self.client.handle_bytes(self.now, &back);
            if !moved {
                return;
            }
        }
    }

    /// Lets the client fetch a root object; both ends know it then.
    pub(crate) fn root(&mut self) -> (ObjectId, IdPack) {
        let call = self.client.get_root(CallOptions::default()).unwrap();
        self.carry();
        let Event::Request { id, request: Request::Root } = event(&mut self.server) else {
            panic!()
        };
        let object = self.server.export(&class()).unwrap();
        self.server.reply(id, &object.into()).unwrap();
        self.carry();
        let Boxed::Remote(pack) = completed(&mut self.client, call) else { panic!() };
        (object, pack)
    }

    /// Lets the client call an object, and gives what the server is asked.
    pub(crate) fn call(&mut self, object: &IdPack, positional: Vec<Boxed>) -> (CallId, Asked) {
        let args = Arguments { positional, keyword: Vec::new() };
        let call =
            self.client.request(object, &Action::Call { args }, CallOptions::default()).unwrap();
        self.carry();
        (call, asked(&mut self.server))
    }
}

/// A call as the callee sees it.
pub(crate) struct Asked {
    pub(crate) id: RequestId,
    pub(crate) positional: Vec<Boxed>,
}

pub(crate) fn asked(session: &mut Session) -> Asked {
    match event(session) {
        Event::Request { id, request: Request::Object { action: Action::Call { args }, .. } } => {
            Asked { id, positional: args.positional }
        }
        other => panic!("no call: {other:?}"),
    }
}

/// The result of a call.
pub(crate) fn completed(session: &mut Session, expected: CallId) -> Boxed {
    match event(session) {
        Event::Completed { call, outcome: Ok(result) } if call == expected => result,
        other => panic!("no result: {other:?}"),
    }
}
