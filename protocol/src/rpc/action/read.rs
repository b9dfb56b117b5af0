//! Requests as they come.

use super::{Action, Arguments, Comparison};
use crate::brine::{Token, Value};
use crate::rpc::boxed::{Boxed, Objects, find_own, read_box};
use crate::rpc::cursor::Cursor;
use crate::rpc::refusal::{ReadError, Refusal};
use crate::rpc::{ObjectId, Op};

/// A request as it came, for whichever part of the session answers it.
#[derive(Debug, PartialEq)]
pub(in crate::rpc) enum Incoming {
    Ping(Boxed),
    Close,
    Root,
    Del { object: ObjectId, count: u64 },
    Object { object: ObjectId, action: Action },
}

impl Incoming {
    /// Reads the body of a request. As in rpyc, the arguments are read before the operation is
    /// looked up, so that an object in them counts in any case.
    pub(in crate::rpc) fn read(
        cursor: &mut Cursor<'_>,
        depth: u16,
        objects: &mut impl Objects,
    ) -> Result<Self, ReadError> {
        let mut peek = cursor.clone();
        match peek.token()? {
            Token::Tuple(2) => *cursor = peek,
            Token::Tuple(given) => return Err(Refusal::Count { expected: 2, given }.into()),
            _ => return Err(Refusal::not_a_tuple(&cursor.value(depth)?).into()),
        }
        let op = cursor.value(depth)?;
        let args = read_box(cursor, depth, objects)?;
        cursor.finish()?;
        let args = args.into_members().map_err(|other| match other {
            Boxed::Value(value) => Refusal::not_a_tuple(&value),
            _ => Refusal::NotATuple { found: "object" },
        })?;
        let op = Op::from_value(&op).ok_or(Refusal::UnknownOp { op })?;
        if !op.arity().contains(&args.len()) {
            return Err(Refusal::Arity { op, given: args.len() }.into());
        }
        Ok(Self::from_args(Args { op, rest: args.into_iter() }, objects)?)
    }

    fn from_args(mut args: Args, objects: &impl Objects) -> Result<Self, Refusal> {
        let args = &mut args;
        let object = match args.op {
            Op::Ping => return Ok(Self::Ping(args.boxed())),
            Op::Close => return Ok(Self::Close),
            Op::GetRoot => return Ok(Self::Root),
            Op::Del => {
                let object = args.object()?;
                let count = if args.rest.len() == 0 { 1 } else { args.count()? };
                return Ok(Self::Del { object, count });
            }
            Op::Inspect => {
                let id = args.value();
                let object = find_own(&id, objects).ok_or(Refusal::UnknownObject { id })?;
                return Ok(Self::Object { object, action: Action::Inspect });
            }
            _ => args.object()?,
        };
        Ok(Self::Object { object, action: Action::from_args(args)? })
    }
}

impl Action {
    /// Reads what follows the object.
    fn from_args(args: &mut Args) -> Result<Self, Refusal> {
        Ok(match args.op {
            Op::GetAttr => Self::GetAttr { name: args.name()? },
            Op::DelAttr => Self::DelAttr { name: args.name()? },
            Op::SetAttr => Self::SetAttr { name: args.name()?, value: args.boxed() },
            Op::Call => Self::Call { args: args.arguments()? },
            Op::CallAttr => Self::CallAttr { name: args.name()?, args: args.arguments()? },
            Op::Repr => Self::Repr,
            Op::Str => Self::Str,
            Op::Cmp => Self::Cmp { other: args.boxed(), comparison: args.comparison()? },
            Op::Hash => Self::Hash,
            Op::Dir => Self::Dir,
            Op::Pickle => Self::Pickle { protocol: args.number()? },
            Op::BuffIter => {
                Self::BuffIter { count: usize::try_from(args.count()?).unwrap_or(usize::MAX) }
            }
            Op::OldSlicing => Self::OldSlicing {
                name: args.name()?,
                fallback: args.name()?,
                start: args.boxed(),
                stop: args.boxed(),
                args: args.members()?,
            },
            Op::CtxExit => Self::CtxExit { exception: args.boxed() },
            Op::InstanceCheck => Self::InstanceCheck { other: args.value() },
            other @ (Op::Ping | Op::Close | Op::GetRoot | Op::Del | Op::Inspect) => {
                return Err(Refusal::UnknownOp { op: i64::from(other.code()).into() });
            }
        })
    }
}

/// The arguments of an operation, whose number has been checked.
struct Args {
    op: Op,
    rest: std::vec::IntoIter<Boxed>,
}

impl Args {
    fn boxed(&mut self) -> Boxed {
        self.rest.next().unwrap_or(Boxed::NONE)
    }

    fn object(&mut self) -> Result<ObjectId, Refusal> {
        match self.boxed() {
            Boxed::Local(object) => Ok(object),
            _ => Err(Refusal::NotAnObject { op: self.op }),
        }
    }

    /// A value; `None` stands for an object, as both are unknown ids.
    fn value(&mut self) -> Value {
        self.boxed().into_value().unwrap_or(Value::None)
    }

    fn name(&mut self) -> Result<String, Refusal> {
        match self.boxed() {
            Boxed::Value(Value::Str(name)) => Ok(name),
            Boxed::Value(Value::Bytes(name)) => {
                String::from_utf8(name).map_err(|_utf8| Refusal::NameType)
            }
            _ => Err(Refusal::NameType),
        }
    }

    fn number(&mut self) -> Result<i64, Refusal> {
        let number = match self.boxed() {
            Boxed::Value(Value::Int(number)) => number.to_i64(),
            _ => None,
        };
        number.ok_or(Refusal::BadNumber { op: self.op })
    }

    /// A number that is not negative; one that is too big counts as the biggest.
    fn count(&mut self) -> Result<u64, Refusal> {
        match self.boxed() {
            Boxed::Value(Value::Int(number)) => match number.to_i64().map(u64::try_from) {
                Some(Ok(count)) => Ok(count),
                None if !number.to_string().starts_with('-') => Ok(u64::MAX),
                _ => Err(Refusal::BadNumber { op: self.op }),
            },
            _ => Err(Refusal::BadNumber { op: self.op }),
        }
    }

    fn members(&mut self) -> Result<Vec<Boxed>, Refusal> {
        self.boxed().into_members().map_err(|other| match other {
            Boxed::Value(value) => Refusal::not_a_tuple(&value),
            _ => Refusal::NotATuple { found: "object" },
        })
    }

    fn comparison(&mut self) -> Result<Comparison, Refusal> {
        let name = match self.rest.next() {
            None => "__cmp__".to_owned(),
            Some(Boxed::Value(Value::Str(name))) => name,
            Some(_) => return Err(Refusal::NameType),
        };
        Comparison::from_method(&name).ok_or(Refusal::BadComparison(name))
    }

    fn arguments(&mut self) -> Result<Arguments, Refusal> {
        let positional = self.members()?;
        let pairs = if self.rest.len() == 0 { Vec::new() } else { self.members()? };
        let keyword = pairs.into_iter().map(|pair| {
            let [name, value] = pair.into_members().ok()?.try_into().ok()?;
            match name {
                Boxed::Value(Value::Str(name)) => Some((name, value)),
                _ => None,
            }
        });
        let keyword = keyword.collect::<Option<_>>().ok_or(Refusal::BadKeywords)?;
        Ok(Arguments { positional, keyword })
    }
}
