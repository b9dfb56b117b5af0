//! All arguments and results arrive unchanged, in all pieces and dialects.

use proptest::prelude::*;
use rpyc_protocol::Limits;
use rpyc_protocol::brine::{FrozenSet, Int, Value};
use rpyc_protocol::rpc::{
    Action, Arguments, Boxed, CallFailure, CallOptions, Config, Dialect, Event, Exception, Request,
    SessionLimits,
};

use super::pair::{Pair, class, events, sent};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::None),
        Just(Value::NotImplemented),
        Just(Value::Ellipsis),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        "-?[1-9][0-9]{0,60}".prop_map(|text| Value::Int(text.parse::<Int>().unwrap())),
        any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
        (any::<f64>(), any::<f64>()).prop_map(|(real, imaginary)| Value::Complex(real, imaginary)),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
        ".{0,50}".prop_map(Value::Str),
    ];
    leaf.prop_recursive(4, 30, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Tuple),
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|members| Value::FrozenSet(FrozenSet(members))),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(start, stop, step)| Value::Slice(Box::new([start, stop, step]))),
        ]
    })
}

/// The arguments, before the objects are known.
#[derive(Clone, Debug)]
enum Passed {
    Value(Value),
    Tuple(Vec<Self>),
    Ours(usize),
    Theirs,
}

fn passed() -> impl Strategy<Value = Passed> {
    let leaf = prop_oneof![
        3 => value().prop_map(Passed::Value),
        1 => (0usize..3).prop_map(Passed::Ours),
        1 => Just(Passed::Theirs),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop::collection::vec(inner, 0..4).prop_map(Passed::Tuple)
    })
}

fn dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![
        Just(Dialect::V6),
        Just(Dialect::V5),
        Just(Dialect::V6.with_bind_threads()),
        Just(Dialect::V5.with_bind_threads()),
    ]
}

proptest! {
    #[test]
    fn arguments_and_results_arrive_as_they_were(
        positional in prop::collection::vec(passed(), 0..4),
        keyword in prop::collection::vec(("[a-z]{1,9}", passed()), 0..4),
        dialect in dialect(),
        step in 1usize..200,
        compress_above in prop_oneof![Just(None), Just(Some(0)), Just(Some(3000))],
    ) {
        let mut pair = Pair::with(
            Config { compress_above, ..Config::client(dialect) },
            Config { compress_above, ..Config::server() },
        );
        let (root, proxy) = pair.root();
        let ours: Vec<_> = (0..3).map(|_| pair.client.export(&class()).unwrap()).collect();
        let boxed = |passed: &Passed| {
            fn build(passed: &Passed, leaf: &dyn Fn(&Passed) -> Boxed) -> Boxed {
                match passed {
                    Passed::Tuple(members) => {
                        Boxed::tuple(members.iter().map(|member| build(member, leaf)).collect())
                    }
                    other => leaf(other),
                }
            }
            build(passed, &|leaf| match leaf {
                Passed::Value(value) => Boxed::Value(value.clone()),
                Passed::Ours(at) => ours[*at].into(),
                Passed::Theirs => proxy.clone().into(),
                Passed::Tuple(_) => Boxed::NONE,
            })
        };
        let args = Arguments {
            positional: positional.iter().map(boxed).collect(),
            keyword: keyword.iter().map(|(name, passed)| (name.clone(), boxed(passed))).collect(),
        };
        let call = pair
            .client
            .request(&proxy, &Action::Call { args: args.clone() }, CallOptions::default())
            .unwrap();
        for piece in sent(&mut pair.client).chunks(step) {
            pair.server.handle_bytes(pair.now, piece);
        }
        let mut arrived = events(&mut pair.server);
        prop_assert_eq!(arrived.len(), 1);
        let Some(Event::Request {
            id,
            request: Request::Object { action: Action::Call { args: arrived }, .. },
        }) = arrived.pop() else { panic!() };

        // Sent back as they came, they are what they were at the sender.
        let pairs = arrived.keyword.iter().map(|(name, boxed)| {
            Boxed::tuple(vec![name.as_str().into(), boxed.clone()])
        });
        let back = Boxed::tuple(vec![
            Boxed::tuple(arrived.positional.clone()),
            Boxed::tuple(pairs.collect()),
        ]);
        pair.server.reply(id, &back).unwrap();
        for piece in sent(&mut pair.server).chunks(step) {
            pair.client.handle_bytes(pair.now, piece);
        }
        let mut completed = events(&mut pair.client);
        prop_assert_eq!(completed.len(), 1);
        let Some(Event::Completed { call: which, outcome: Ok(result) }) = completed.pop() else {
            panic!()
        };
        prop_assert_eq!(which, call);
        let pairs = args.keyword.iter().map(|(name, boxed)| {
            Boxed::tuple(vec![name.as_str().into(), boxed.clone()])
        });
        let expected = Boxed::tuple(vec![
            Boxed::tuple(args.positional.clone()),
            Boxed::tuple(pairs.collect()),
        ]);
        prop_assert_eq!(&result, &expected);

        // Everything that was counted can be let go.
        pair.client.discard(&result);
        for boxed in arrived.positional.iter().chain(arrived.keyword.iter().map(|(_, boxed)| boxed)) {
            pair.server.discard(boxed);
        }
        pair.client.release(&proxy);
        pair.carry();
        prop_assert_eq!(pair.client.stats().imports, 0);
        prop_assert_eq!(pair.server.stats().imports, 0);
        prop_assert_eq!(pair.server.stats().exports, 0);
        prop_assert!(!pair.server.is_exported(root));
    }

    #[test]
    fn exceptions_arrive_as_they_were(
        module in "[a-z.]{0,9}", name in "[A-Za-z]{1,9}",
        args in prop::collection::vec(value(), 0..4),
        attributes in prop::collection::vec(("[a-z]{1,9}", value()), 0..4),
        traceback in prop::option::of(".{0,50}"),
        dialect in dialect(),
    ) {
        let mut pair = Pair::new(dialect);
        let (_, proxy) = pair.root();
        let mut exception = Exception::new(module, name, args);
        for (name, value) in attributes {
            exception = exception.with_attribute(name, value);
        }
        exception.traceback = traceback;
        let (_, asked) = pair.call(&proxy, vec![]);
        pair.server.raise(asked.id, &exception).unwrap();
        pair.carry();
        let Some(Event::Completed { outcome: Err(CallFailure::Raised(mut arrived)), .. }) =
            pair.client.poll_event() else { panic!() };
        let version = arrived.attributes.pop();
        prop_assert_eq!(version.map(|(name, _)| name.into_owned()), Some("_remote_version".into()));
        prop_assert_eq!(*arrived, exception);
    }

    #[test]
    fn what_may_be_sent_may_be_read(
        boxed in passed(), depth in 0u16..6, items in 0usize..60, as_keyword in any::<bool>(),
    ) {
        // Whatever the limits are: if the sender's let a message through, the receiver's do too.
        let limits = SessionLimits {
            message: Limits { depth, items, ..Limits::DEFAULT },
            ..SessionLimits::DEFAULT
        };
        let mut pair = Pair::with(
            Config::client(Dialect::V6),
            Config { limits, ..Config::server() },
        );
        // The root is fetched under the default limits, for the sake of small ones.
        let mut wide = Pair::new(Dialect::V6);
        let (_, proxy) = wide.root();
        let mut client = rpyc_protocol::rpc::Session::new(
            pair.now,
            Config { limits, ..Config::client(Dialect::V6) },
        );
        fn value_of(passed: &Passed) -> Boxed {
            match passed {
                Passed::Value(value) => Boxed::Value(value.clone()),
                Passed::Tuple(members) => Boxed::tuple(members.iter().map(value_of).collect()),
                Passed::Ours(_) | Passed::Theirs => Boxed::NONE,
            }
        }
        let passed = value_of(&boxed);
        let args = match as_keyword {
            true => Arguments { positional: vec![], keyword: vec![("k".into(), passed)] },
            false => Arguments { positional: vec![passed], keyword: vec![] },
        };
        if client.request(&proxy, &Action::Call { args }, CallOptions::default()).is_ok() {
            pair.server.handle_bytes(pair.now, &sent(&mut client));
            // The object is unknown there, which is reported only after all has been read.
            let answer = super::pair::answers(&mut pair.server).remove(0);
            let (name, args) = super::pair::raised(&answer);
            prop_assert_eq!(name, "KeyError", "{:?}", args);
        }
    }
}
