//! Recorded conversations of real programs, held again by two sessions.
//!
//! Each recorded request is made by the session of its side, each recorded answer is given by the
//! other; what goes over the wire must be what was recorded, message by message, but for the
//! numbers that stand for objects. (Answers that a session gives by itself may come sooner than
//! recorded.)

use std::collections::HashMap;
use std::time::Instant;

use rpyc_protocol::brine::Value;
use rpyc_protocol::rpc::{
    Action, Arguments, Boxed, CallOptions, Class, Comparison, Config, Dialect, Event, Exception,
    IdPack, ObjectId, Op, RequestId, Session,
};

use super::pair::{Seen, messages, sent, unhex};

/// The id packs of one stream of messages, as numbers in the order in which they appear.
#[derive(Default)]
struct Numbers(Vec<Value>);

impl Numbers {
    /// Puts numbers in the place of id packs, anywhere in a value.
    fn number(&mut self, value: &Value) -> Value {
        let Value::Tuple(members) = value else { return value.clone() };
        if let [Value::Str(name), Value::Int(_), Value::Int(_)] = &members[..] {
            let at = self.0.iter().position(|known| known == value).unwrap_or_else(|| {
                self.0.push(value.clone());
                self.0.len() - 1
            });
            return format!("<{name} {at}>").into();
        }
        Value::Tuple(members.iter().map(|member| self.number(member)).collect())
    }

    fn seen(&mut self, seen: Seen) -> Seen {
        Seen { body: self.number(&seen.body), ..seen }
    }
}

struct End {
    session: Session,
    /// What this end offers, by the pack that it had when it was recorded.
    offered: HashMap<String, ObjectId>,
    /// What it holds of the other end's.
    held: HashMap<String, Vec<IdPack>>,
    /// The recorded packs in the message that is on its way to this end.
    coming: Vec<String>,
    asked: Vec<RequestId>,
    /// What it has said beyond what was recorded so far.
    said: Vec<Seen>,
    numbers: Numbers,
}

impl End {
    fn new(config: Config) -> Self {
        Self {
            session: Session::new(Instant::now(), config),
            offered: HashMap::new(),
            held: HashMap::new(),
            coming: Vec::new(),
            asked: Vec::new(),
            said: Vec::new(),
            numbers: Numbers::default(),
        }
    }

    /// A recorded box, with the objects of these sessions. Takes note of the packs that it sends.
    fn rebuild(&mut self, recorded: &Value, sends: &mut Vec<String>) -> Boxed {
        let (label, content) = label_and_content(recorded);
        match label {
            1 => Boxed::Value(content.clone()),
            2 => Boxed::tuple(
                members(content).iter().map(|member| self.rebuild(member, sends)).collect(),
            ),
            3 => Boxed::Remote(self.held[&key(content)][0].clone()),
            4 => {
                let session = &mut self.session;
                sends.push(key(content));
                let [Value::Str(name), ..] = members(content) else { panic!("{content:?}") };
                let object = self
                    .offered
                    .entry(key(content))
                    .or_insert_with(|| session.export(&Class::new(name, 1)).unwrap());
                Boxed::Local(*object)
            }
            other => panic!("the label {other}"),
        }
    }

    /// Makes the recorded request.
    fn request(&mut self, recorded: &Value, sends: &mut Vec<String>) {
        let options = CallOptions::default();
        let [op, args] = members(recorded) else { panic!("{recorded:?}") };
        let op = Op::from_code(number(op)).unwrap();
        let args: Vec<Value> = match label_and_content(args) {
            (1, values) => members(values).iter().map(|value| tuple_of(1, value)).collect(),
            (_, boxes) => members(boxes).to_vec(),
        };
        let mut rest = args.get(1..).unwrap_or_default().iter();
        let target = || {
            let (_, pack) = label_and_content(&args[0]);
            self.held[&key(pack)][0].clone()
        };
        let mut text = || match label_and_content(rest.next().unwrap()).1 {
            Value::Str(text) => text.clone(),
            other => panic!("no text: {other:?}"),
        };
        let object;
        let action = match op {
            Op::Ping => {
                let (_, data) = label_and_content(&args[0]);
                self.session.ping(data, options).unwrap();
                return;
            }
            Op::Close => return self.session.close(),
            Op::GetRoot => {
                self.session.get_root(options).unwrap();
                return;
            }
            Op::Del => {
                let (_, pack) = label_and_content(&args[0]);
                let (_, count) = label_and_content(&args[1]);
                let references = self.held.remove(&key(pack)).unwrap();
                assert_eq!(i64::try_from(references.len()).unwrap(), number(count));
                for reference in references {
                    self.session.release(&reference);
                }
                return;
            }
            Op::Inspect => {
                object = target();
                Action::Inspect
            }
            Op::GetAttr => {
                object = target();
                Action::GetAttr { name: text() }
            }
            Op::Call | Op::CallAttr => {
                object = target();
                let name = (op == Op::CallAttr).then(&mut text);
                let [positional, keyword] = rest.as_slice() else { panic!("{args:?}") };
                let positional = self.rebuild(positional, sends).into_members().unwrap();
                let keyword = self.rebuild(keyword, sends).into_members().unwrap();
                let keyword = keyword.into_iter().map(|pair| {
                    let [name, value] = pair.into_members().unwrap().try_into().unwrap();
                    let Boxed::Value(Value::Str(name)) = name else { panic!("{name:?}") };
                    (name, value)
                });
                let args = Arguments { positional, keyword: keyword.collect() };
                match name {
                    Some(name) => Action::CallAttr { name, args },
                    None => Action::Call { args },
                }
            }
            Op::Cmp => {
                object = target();
                let other = self.rebuild(&args[1], sends);
                Action::Cmp { other, comparison: Comparison::Eq }
            }
            other => panic!("not in the recordings: {other}"),
        };
        self.session.request(&object, &action, options).unwrap();
    }

    /// Gives the recorded answer, unless the session has given it.
    fn answer(&mut self, recorded: &Seen, sends: &mut Vec<String>) {
        let is_given = |said: &Seen| said.kind != 1 && said.seq == recorded.seq;
        if self.session.stats().unsent > 0 || self.said.iter().any(is_given) {
            return;
        }
        let id = self.asked.pop().expect("something was asked");
        if recorded.kind == 2 {
            let result = self.rebuild(&recorded.body, sends);
            self.session.reply(id, &result).unwrap();
            return;
        }
        let Value::Tuple(parts) = &recorded.body else {
            return self.session.raise(id, &Exception::stop_iteration()).unwrap();
        };
        let [class, args, attributes, _] = &parts[..] else { panic!("{recorded:?}") };
        let [Value::Str(module), Value::Str(name)] = members(class) else { panic!("{class:?}") };
        let mut exception = Exception::new(module.clone(), name.clone(), members(args).to_vec());
        for pair in members(attributes) {
            let [Value::Str(name), value] = members(pair) else { panic!("{pair:?}") };
            if name != "_remote_version" {
                exception = exception.with_attribute(name.clone(), value.clone());
            }
        }
        self.session.raise(id, &exception).unwrap();
    }

    /// Lets a message arrive, and keeps what it brings.
    fn receive(&mut self, bytes: &[u8], sends: Vec<String>) {
        self.coming = sends;
        self.session.handle_bytes(Instant::now(), bytes);
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Request { id, request } => {
                    self.asked.push(id);
                    if let rpyc_protocol::rpc::Request::Object {
                        action: Action::Call { args } | Action::CallAttr { args, .. },
                        ..
                    } = request
                    {
                        self.keep(&Boxed::tuple(args.positional));
                    }
                }
                Event::Completed { outcome: Ok(result), .. } => self.keep(&result),
                Event::Dropped { object } => self.offered.retain(|_, known| *known != object),
                Event::Completed { .. } | Event::Closed { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn keep(&mut self, boxed: &Boxed) {
        match boxed {
            Boxed::Value(_) | Boxed::Local(_) => {}
            Boxed::Tuple(members) => members.iter().for_each(|member| self.keep(member)),
            Boxed::Remote(object) => {
                let key = self.coming.remove(0);
                self.held.entry(key).or_default().push(object.clone());
            }
        }
    }
}

fn members(value: &Value) -> &[Value] {
    match value {
        Value::Tuple(members) => members,
        other => panic!("no tuple: {other:?}"),
    }
}

fn number(value: &Value) -> i64 {
    match value {
        Value::Int(number) => number.to_i64().unwrap(),
        other => panic!("no number: {other:?}"),
    }
}

fn label_and_content(recorded: &Value) -> (i64, &Value) {
    match members(recorded) {
        [label, content] => (number(label), content),
        other => panic!("no box: {other:?}"),
    }
}

fn tuple_of(label: i64, value: &Value) -> Value {
    super::pair::boxed(label, value.clone())
}

fn key(pack: &Value) -> String {
    format!("{pack:?}")
}

#[test]
fn recorded_conversations_are_held_again() {
    let recorded: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../data/rpc-frames.json")).unwrap();
    let mut conversations = 0;
    let mut ends: Option<[End; 2]> = None;
    let mut recorded_numbers = Numbers::default();
    for entry in &recorded {
        let Some(hex) = entry["frame_hex"].as_str().filter(|hex| !hex.is_empty()) else {
            for end in ends.take().into_iter().flatten() {
                assert_eq!(end.said, [], "more than was recorded");
            }
            continue;
        };
        let ends = ends.get_or_insert_with(|| {
            conversations += 1;
            recorded_numbers = Numbers::default();
            [End::new(Config::client(Dialect::V6)), End::new(Config::server())]
        });
        let [client, server] = ends;
        let (sender, receiver) = match entry["dir"].as_str().unwrap() {
            "C->S" => (client, server),
            _ => (server, client),
        };
        let seen = messages(Dialect::V6, &unhex(hex)).remove(0);
        let mut sends = Vec::new();
        if seen.kind == 1 {
            sender.request(&seen.body, &mut sends);
        } else {
            sender.answer(&seen, &mut sends);
        }
        let bytes = sent(&mut sender.session);
        for said in messages(Dialect::V6, &bytes) {
            let said = sender.numbers.seen(said);
            sender.said.push(said);
        }
        // Both sides of a conversation see the same objects in the same order.
        receiver.numbers.0.clone_from(&sender.numbers.0);
        let expected = recorded_numbers.seen(seen);
        let at = sender.said.iter().position(|said| *said == expected);
        let at = at.unwrap_or_else(|| panic!("{expected:?} not in {:?}", sender.said));
        sender.said.remove(at);
        receiver.receive(&bytes, sends);
    }
    assert_eq!(conversations, 2);
}
