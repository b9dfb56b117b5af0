//! Every frame of recorded conversations between real programs, read and written again.

use std::cell::RefCell;

use super::action::Incoming;
use super::boxed::{Objects, Packer, Unsendable, read_box};
use super::cursor::Cursor;
use super::message::{Kind, Message};
use super::{Boxed, Dialect, Exception, FrameDecoder, IdPack, ObjectId, Op, encode_frame};
use crate::Limits;
use crate::brine::{Value, Writer};

const LIMITS: Limits = Limits::DEFAULT;

/// Knows every object that is ever mentioned, by the pack that the recorded program gave it.
#[derive(Default)]
struct Everything(RefCell<Vec<(String, i64, i64)>>);

impl Everything {
    fn id(&self, pack: (String, i64, i64)) -> ObjectId {
        let mut packs = self.0.borrow_mut();
        let at = packs.iter().position(|known| *known == pack).unwrap_or_else(|| {
            packs.push(pack);
            packs.len() - 1
        });
        ObjectId(at as u64)
    }

    fn pack(&self, object: ObjectId) -> Vec<u8> {
        let (name, class, instance) = &self.0.borrow()[usize::try_from(object.0).unwrap()];
        let mut out = Vec::new();
        Writer::new(&mut out).tuple(3).unwrap().str(name).unwrap().int(*class).int(*instance);
        out
    }

    /// What the receiver sees, as the sender saw it: ours is theirs.
    fn flip(&self, boxed: &Boxed) -> Boxed {
        match boxed {
            Boxed::Value(value) => Boxed::Value(value.clone()),
            Boxed::Tuple(members) => {
                Boxed::Tuple(members.iter().map(|member| self.flip(member)).collect())
            }
            Boxed::Local(object) => Boxed::Remote(IdPack::from_brine(&self.pack(*object))),
            Boxed::Remote(pack) => {
                let Value::Tuple(parts) = pack.to_value() else { panic!("no pack") };
                let [Value::Str(name), Value::Int(class), Value::Int(instance)] = &parts[..] else {
                    panic!("no pack of rpyc's")
                };
                let (class, instance) = (class.to_i64().unwrap(), instance.to_i64().unwrap());
                Boxed::Local(self.id((name.clone(), class, instance)))
            }
        }
    }
}

impl Objects for Everything {
    fn find(&self, class_name: &str, class: i64, object: i64) -> Option<ObjectId> {
        Some(self.id((class_name.to_owned(), class, object)))
    }

    fn receive(&mut self, id_pack: &[u8]) -> IdPack {
        IdPack::from_brine(id_pack)
    }

    fn send(&mut self, object: ObjectId, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        out.extend(self.pack(object));
        Ok(())
    }
}

fn flip_action(everything: &Everything, action: &mut super::Action) {
    use super::Action;
    let each = |boxes: &mut Vec<Boxed>| {
        for boxed in boxes {
            *boxed = everything.flip(boxed);
        }
    };
    match action {
        Action::Call { args } | Action::CallAttr { args, .. } => {
            each(&mut args.positional);
            for (_, boxed) in &mut args.keyword {
                *boxed = everything.flip(boxed);
            }
        }
        Action::SetAttr { value: boxed, .. }
        | Action::Cmp { other: boxed, .. }
        | Action::CtxExit { exception: boxed } => *boxed = everything.flip(boxed),
        _ => {}
    }
}

/// Reads the body of a message and writes it again.
fn rewrite(everything: &mut Everything, message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut cursor = Cursor::new(message.body, &LIMITS).unwrap();
    match message.kind {
        Kind::Request => {
            let mut incoming = Incoming::read(&mut cursor, LIMITS.depth, everything).unwrap();
            let pack = |object| IdPack::from_brine(&everything.pack(object));
            let target = match &mut incoming {
                Incoming::Object { object, .. } | Incoming::Del { object, .. } => {
                    Some(pack(*object))
                }
                _ => None,
            };
            if let Incoming::Object { action, .. } = &mut incoming {
                flip_action(everything, action);
            }
            let mut packer = Packer::new(&mut out, everything, &LIMITS);
            match (incoming, target) {
                (Incoming::Object { action, .. }, Some(target)) => {
                    action.write(&target, &mut packer).unwrap();
                }
                (Incoming::Del { count, .. }, Some(target)) => {
                    let count = i64::try_from(count).unwrap();
                    packer.op(Op::Del).unwrap().arguments(2).unwrap();
                    packer.remote(&target).unwrap().int(count).unwrap();
                }
                (Incoming::Root, _) => drop(packer.op(Op::GetRoot).unwrap().members(&[]).unwrap()),
                (Incoming::Close, _) => drop(packer.op(Op::Close).unwrap().members(&[]).unwrap()),
                (Incoming::Ping(data), _) => {
                    let data = data.into_value().unwrap();
                    packer.op(Op::Ping).unwrap().value_argument(&data).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
        Kind::Reply => {
            let boxed = read_box(&mut cursor, LIMITS.depth, everything).unwrap();
            let boxed = everything.flip(&boxed);
            Packer::new(&mut out, everything, &LIMITS).boxed(&boxed).unwrap();
        }
        Kind::Exception => {
            let exception = Exception::decode(message.body, &LIMITS).unwrap();
            exception.encode("", &mut out).unwrap();
        }
    }
    out
}

#[expect(clippy::string_slice, reason = "a test fails by panicking")]
fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn check(everything: &mut Everything, dialect: Dialect, frame: &[u8]) {
    let mut decoder = FrameDecoder::new(LIMITS.bytes, LIMITS.bytes);
    let mut input = frame;
    let payload = decoder.next_payload(&mut input).unwrap().unwrap();
    assert_eq!(Dialect::detect(payload), Some(dialect));
    let message = Message::decode(payload, dialect, &LIMITS).unwrap();
    let body = rewrite(everything, &message);
    assert_eq!(body, message.body, "{message:?}");
    let mut again = Vec::new();
    encode_frame::<Unsendable>(&mut again, Some(3000), LIMITS.bytes, |out| {
        Ok(Message { body: &body, ..message.clone() }.encode(dialect, out)?)
    })
    .unwrap();
    assert_eq!(again, frame, "{message:?}");
}

#[test]
fn every_recorded_frame_reads_and_writes_byte_for_byte() {
    let recorded: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../../tests/data/rpc-frames.json")).unwrap();
    let frames = recorded.iter().filter_map(|entry| entry["frame_hex"].as_str());
    let frames: Vec<_> = frames.filter(|hex| !hex.is_empty()).map(unhex).collect();
    assert_eq!(frames.len(), 96);
    let mut everything = Everything::default();
    for frame in frames {
        check(&mut everything, Dialect::V6, &frame);
    }
}

#[test]
fn the_other_dialects_read_and_write_byte_for_byte() {
    let v5 = Dialect::V5;
    let bound = Dialect::V6.with_bind_threads();
    let cases = [
        (v5, "00000008001251501153115102 0a"),
        (
            v5,
            "0000004b001251531157115212115312080e0f6275696c74696e732e6d6574686f64160f313339383035\
             393731343835333736160f3133393830353935323533363936301151105111511011080a78520a",
        ),
        (v5, "00000006001252531151530a"),
        (bound, "000000180000007f38a55e9b8000000000000000000111501153115102 0a"),
    ];
    for (dialect, hex) in cases {
        let hex: String = hex.split_whitespace().collect();
        check(&mut Everything::default(), dialect, &unhex(&hex));
    }
}
