//! Who counts on which object: the session against a simple model, with messages that cross.

use std::collections::{HashMap, VecDeque};

use proptest::prelude::*;
use rpyc_protocol::brine::Value;
use rpyc_protocol::rpc::{
    Action, Arguments, Boxed, CallOptions, Config, Dialect, Event, IdPack, ObjectId, Request,
    Session,
};

use super::pair::{
    Pair, answers, boxed, class, completed, event, events, message, sent, server_with_object, tuple,
};

#[test]
fn one_goodbye_for_all_references_to_an_object() {
    let mut pair = Pair::new(Dialect::V6);
    let (root, proxy) = pair.root();
    let (call, asked) = pair.call(&proxy, vec![]);
    let twice = Boxed::tuple(vec![root.into(), root.into()]);
    pair.server.reply(asked.id, &twice).unwrap();
    pair.carry();
    let again = completed(&mut pair.client, call);
    assert_eq!(again, Boxed::tuple(vec![proxy.clone().into(), proxy.clone().into()]));
    assert_eq!(pair.client.stats().imports, 1);
    pair.client.release(&proxy);
    pair.client.release(&proxy);
    assert_eq!(pair.client.stats().unsent, 0);
    pair.client.release(&proxy);
    let del = answers(&mut pair.client).remove(0);
    let Value::Tuple(body) = &del.body else { panic!() };
    assert_eq!(body[0], 15.into());
    assert_eq!(body[1], boxed(2, tuple([boxed(3, proxy.to_value()), boxed(1, 3)])));
    // One too many changes nothing.
    pair.client.release(&proxy);
    assert_eq!(pair.client.stats().unsent, 0);
}

#[test]
fn letting_go_and_handing_out_again_may_cross() {
    let mut pair = Pair::new(Dialect::V6);
    let (root, proxy) = pair.root();
    let (call, asked) = pair.call(&proxy, vec![]);
    // The client lets go while the server sends the object once more.
    pair.client.release(&proxy);
    pair.server.reply(asked.id, &root.into()).unwrap();
    pair.carry();
    assert_eq!(completed(&mut pair.client, call), Boxed::Remote(proxy.clone()));
    assert!(pair.server.poll_event().is_none());
    assert!(pair.server.is_exported(root));
    let (_, asked) = pair.call(&proxy, vec![]);
    pair.client.release(&proxy);
    pair.carry();
    assert!(matches!(event(&mut pair.server), Event::Dropped { object } if object == root));
    pair.server.reply(asked.id, &Boxed::NONE).unwrap();
}

#[test]
fn a_peer_may_let_go_of_too_much_or_twice() {
    let (mut session, object, pack) = server_with_object(Config::server());
    let now = std::time::Instant::now();
    let del = |rest: Vec<Value>| {
        let args = [vec![boxed(3, pack.clone())], rest].concat();
        message(1, 9, tuple([15.into(), boxed(2, Value::Tuple(args))]))
    };
    session.handle_bytes(now, &del(vec![boxed(1, 0)]));
    assert_eq!(answers(&mut session)[0].body, boxed(1, Value::None));
    assert!(session.is_exported(object));
    let too_much = Value::Int("99999999999999999999999999".parse().unwrap());
    session.handle_bytes(now, &del(vec![boxed(1, too_much)]));
    assert_eq!(answers(&mut session)[0].body, boxed(1, Value::None));
    assert!(matches!(event(&mut session), Event::Dropped { object: gone } if gone == object));
    session.handle_bytes(now, &del(vec![]));
    let answer = answers(&mut session).remove(0);
    assert_eq!(super::pair::raised(&answer), ("KeyError", &[pack.clone()][..]));
    assert!(session.poll_event().is_none());
}

#[test]
fn the_count_of_a_goodbye_is_one_if_it_is_not_told() {
    let (mut session, object, pack) = server_with_object(Config::server());
    let body = tuple([15.into(), boxed(2, tuple([boxed(3, pack)]))]);
    session.handle_bytes(std::time::Instant::now(), &message(1, 9, body));
    assert!(matches!(event(&mut session), Event::Dropped { object: gone } if gone == object));
}

#[test]
fn a_ping_with_an_object_gives_it_back_and_holds_nothing() {
    let mut session = super::pair::server();
    let thing = tuple(["their.Thing".into(), 1.into(), 2.into()]);
    let body = tuple([1.into(), boxed(2, tuple([boxed(4, thing.clone())]))]);
    session.handle_bytes(std::time::Instant::now(), &message(1, 0, body));
    let sent = answers(&mut session);
    assert_eq!(sent[0].body, boxed(3, thing.clone()));
    let del = boxed(2, tuple([boxed(3, thing), boxed(1, 1)]));
    assert_eq!(sent[1].body, tuple([15.into(), del]));
    assert_eq!(session.stats().imports, 0);
}

#[test]
fn numbers_are_never_used_twice() {
    let mut pair = Pair::new(Dialect::V6);
    let (first, proxy) = pair.root();
    pair.client.release(&proxy);
    pair.carry();
    assert!(matches!(event(&mut pair.server), Event::Dropped { object } if object == first));
    let (second, _) = pair.root();
    assert!(second > first);
}

#[test]
fn ids_of_any_shape_are_echoed_as_they_came() {
    // Strings and tuples for ids, and lengths in their longer forms.
    let pack: &[u8] = b"\x14\x03\x08\x0e\x09odd.Thing\x08\x0f\x00\x00\x00\x02id\x11\x50\x05";
    let reply = [&b"\x02\x11\x50\x11\x54"[..], pack].concat();
    let mut client = Session::new(std::time::Instant::now(), Config::client(Dialect::V6));
    let call = client.get_root(CallOptions::default()).unwrap();
    sent(&mut client);
    client.handle_bytes(std::time::Instant::now(), &super::pair::frame(&reply));
    let Boxed::Remote(object) = completed(&mut client, call) else { panic!() };
    assert_eq!(object.class_name(), "odd.Thing");
    client.request(&object, &Action::Str, CallOptions::default()).unwrap();
    client.request(&object, &Action::Inspect, CallOptions::default()).unwrap();
    let bytes = sent(&mut client);
    let echoes = bytes.windows(pack.len()).filter(|window| *window == pack).count();
    assert_eq!(echoes, 2);
}

/// One end of a connection, with the objects that a program would have there.
struct End {
    session: Session,
    /// What this end offers, and how often the other end was sent it and has not let it go.
    offered: HashMap<ObjectId, u64>,
    /// What this end holds: one entry for each reference.
    held: Vec<IdPack>,
    /// The bytes on their way to this end.
    inbox: VecDeque<u8>,
}

#[derive(Clone, Debug)]
enum Step {
    /// Offers a new object in a call.
    Offer(bool),
    /// Sends an offered object again.
    Again(bool, usize),
    /// Sends back what it holds.
    Back(bool, usize),
    /// Lets go of a reference.
    Release(bool, usize),
    /// Lets so many bytes arrive.
    Arrive(bool, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let end = any::<bool>;
    prop_oneof![
        end().prop_map(Step::Offer),
        (end(), any::<usize>()).prop_map(|(end, at)| Step::Again(end, at)),
        (end(), any::<usize>()).prop_map(|(end, at)| Step::Back(end, at)),
        (end(), any::<usize>()).prop_map(|(end, at)| Step::Release(end, at)),
        (end(), 0usize..200).prop_map(|(end, bytes)| Step::Arrive(end, bytes)),
    ]
}

/// Two ends that pass objects to each other in pings to each other's root, as fast or as slowly as
/// the steps let the bytes arrive.
struct Model {
    ends: [End; 2],
    roots: [IdPack; 2],
}

impl Model {
    fn new() -> Self {
        let mut pair = Pair::new(Dialect::V6);
        let (server_root, at_client) = pair.root();
        let call = pair.server.get_root(CallOptions::default()).unwrap();
        pair.carry();
        let Event::Request { id, request: Request::Root } = event(&mut pair.client) else {
            panic!()
        };
        let client_root = pair.client.export(&class()).unwrap();
        pair.client.reply(id, &client_root.into()).unwrap();
        pair.carry();
        let Boxed::Remote(at_server) = completed(&mut pair.server, call) else { panic!() };
        let end = |session, root| End {
            session,
            offered: HashMap::from([(root, 1)]),
            held: Vec::new(),
            inbox: VecDeque::new(),
        };
        Self {
            ends: [end(pair.client, client_root), end(pair.server, server_root)],
            roots: [at_client, at_server],
        }
    }

    fn call(&mut self, end: usize, argument: Boxed) {
        let args = Arguments { positional: vec![argument], keyword: Vec::new() };
        let root = &self.roots[end];
        let options = CallOptions::default();
        self.ends[end].session.request(root, &Action::Call { args }, options).unwrap();
    }

    fn run(&mut self, step: &Step) {
        let pick = |list: &[IdPack], at: usize| (!list.is_empty()).then(|| at % list.len());
        match *step {
            Step::Offer(end) => {
                let end = usize::from(end);
                let object = self.ends[end].session.export(&class()).unwrap();
                self.ends[end].offered.insert(object, 1);
                self.call(end, object.into());
            }
            Step::Again(end, at) => {
                let end = usize::from(end);
                let mut offered: Vec<_> = self.ends[end].offered.keys().copied().collect();
                offered.sort_unstable();
                let object = offered[at % offered.len()];
                *self.ends[end].offered.get_mut(&object).unwrap() += 1;
                self.call(end, object.into());
            }
            Step::Back(end, at) => {
                let end = usize::from(end);
                if let Some(at) = pick(&self.ends[end].held, at) {
                    let object = self.ends[end].held[at].clone();
                    self.call(end, object.into());
                }
            }
            Step::Release(end, at) => {
                let end = &mut self.ends[usize::from(end)];
                if let Some(at) = pick(&end.held, at) {
                    let object = end.held.swap_remove(at);
                    end.session.release(&object);
                }
            }
            Step::Arrive(end, bytes) => self.arrive(usize::from(end), bytes),
        }
    }

    /// Lets bytes arrive at an end, which answers what it is asked and keeps what it gets.
    fn arrive(&mut self, end: usize, bytes: usize) {
        let out = sent(&mut self.ends[1 - end].session);
        let this = &mut self.ends[end];
        this.inbox.extend(out);
        let bytes: Vec<u8> = this.inbox.drain(..bytes.min(this.inbox.len())).collect();
        this.session.handle_bytes(std::time::Instant::now(), &bytes);
        for event in events(&mut this.session) {
            match event {
                Event::Request {
                    id,
                    request: Request::Object { action: Action::Call { mut args }, .. },
                } => {
                    match args.positional.pop().unwrap() {
                        Boxed::Remote(object) => this.held.push(object),
                        // One of ours came back, so the sender held it when it sent it.
                        Boxed::Local(object) => assert!(this.offered.contains_key(&object)),
                        other => panic!("{other:?}"),
                    }
                    this.session.reply(id, &Boxed::NONE).unwrap();
                }
                Event::Completed { outcome: Ok(Boxed::Value(Value::None)), .. } => {}
                Event::Dropped { object } => {
                    this.offered.remove(&object).expect("it was offered");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn settle(&mut self) {
        while self.ends.iter().any(|end| end.session.stats().unsent + end.inbox.len() > 0) {
            self.arrive(0, usize::MAX);
            self.arrive(1, usize::MAX);
        }
    }
}

proptest! {
    #[test]
    fn every_object_lives_as_long_as_somebody_counts_on_it(
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut model = Model::new();
        for step in &steps {
            model.run(step);
        }
        model.settle();
        for end in 0..2 {
            // What one end holds, the other still offers, and nothing else but its root.
            let distinct: std::collections::HashSet<_> = model.ends[1 - end].held.iter().collect();
            let root_too = usize::from(!distinct.contains(&model.roots[1 - end]));
            let session = &model.ends[end].session;
            prop_assert_eq!(session.stats().exports, distinct.len() + root_too);
            prop_assert_eq!(model.ends[end].offered.len(), distinct.len() + root_too);
            prop_assert_eq!(session.stats().calls, 0);
            prop_assert_eq!(session.stats().requests, 0);
        }
        for end in &mut model.ends {
            for object in end.held.drain(..) {
                end.session.release(&object);
            }
        }
        model.settle();
        for end in &model.ends {
            prop_assert_eq!(end.session.stats().exports, 1, "the root");
            prop_assert_eq!(end.session.stats().imports, 1, "the other's root");
        }
    }
}

#[test]
fn a_million_objects_leave_nothing_behind() {
    let mut pair = Pair::new(Dialect::V6);
    let (_, proxy) = pair.root();
    for _ in 0..100 {
        let (call, asked) = pair.call(&proxy, vec![]);
        let objects = (0..1000).map(|_| pair.server.export(&class()).unwrap().into()).collect();
        pair.server.reply(asked.id, &Boxed::tuple(objects)).unwrap();
        pair.carry();
        let result = completed(&mut pair.client, call);
        assert_eq!(pair.server.stats().exports, 1001);
        pair.client.discard(&result);
        pair.carry();
        assert_eq!(events(&mut pair.server).len(), 1000);
    }
    assert_eq!(pair.server.stats().exports, 1);
    assert_eq!(pair.client.stats().imports, 1);
}
