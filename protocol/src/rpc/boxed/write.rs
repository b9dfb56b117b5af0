//! Boxes to brine, refusing what a peer could not read.

use num_bigint::BigInt;

use super::{Boxed, LABEL_RECEIVERS, LABEL_SENDERS, LABEL_TUPLE, LABEL_VALUE, Objects};
use crate::Limits;
use crate::brine::{EncodeError, Int, Value, Writer};
use crate::rpc::frame::PayloadTooLong;
use crate::rpc::{Exception, IdPack, ObjectId, Op};

/// Why something cannot be sent; the fault of this side. Nothing has been sent.
///
/// The limits on reading hold for writing too: a Python peer drops the whole
/// connection when it meets a value that it cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsendable {
    /// A part of 4 GiB or more.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// An integer of more digits than [`Limits::int_digits`].
    #[error("an integer of more than {limit} digits")]
    IntTooLong {
        /// The limit.
        limit: usize,
    },
    /// Longer than [`Limits::bytes`].
    #[error(transparent)]
    TooLong(#[from] PayloadTooLong),
    /// Deeper than [`Limits::depth`].
    #[error("values nested more than {limit} deep")]
    TooDeep {
        /// The limit.
        limit: u16,
    },
    /// More values than [`Limits::items`].
    #[error("more than {limit} values")]
    TooManyItems {
        /// The limit.
        limit: usize,
    },
    /// An object that this side does not offer (any more).
    #[error("the object {0} is not offered on this connection")]
    UnknownObject(ObjectId),
}

/// Appends boxes to a payload.
#[derive(Debug)]
pub(in crate::rpc) struct Packer<'a, O> {
    out: &'a mut Vec<u8>,
    objects: &'a mut O,
    checker: Checker<'a>,
    /// How many tuples may still be in each other here.
    depth: u16,
}

impl<'a, O: Objects> Packer<'a, O> {
    /// Room in [`Limits::items`] for what stands around the boxes of a message.
    const ITEMS_AROUND: usize = 8;

    pub(in crate::rpc) fn new(
        out: &'a mut Vec<u8>,
        objects: &'a mut O,
        limits: &'a Limits,
    ) -> Self {
        let items_left = limits.items.saturating_sub(Self::ITEMS_AROUND);
        Self { out, objects, checker: Checker { limits, items_left }, depth: limits.depth }
    }

    /// Writes the head of a request's body; the box of its arguments follows.
    pub(in crate::rpc) fn op(&mut self, op: Op) -> Result<&mut Self, Unsendable> {
        Writer::new(self.out).tuple(2)?.int(op.code().into());
        Ok(self)
    }

    /// Writes the head of a tuple of arguments, `len` boxes to come, and goes into it.
    pub(in crate::rpc) fn arguments(&mut self, len: usize) -> Result<&mut Self, Unsendable> {
        self.depth = self.checker.inner(self.depth)?;
        self.tuple(len)
    }

    pub(in crate::rpc) fn boxed(&mut self, boxed: &Boxed) -> Result<&mut Self, Unsendable> {
        self.boxed_within(boxed, self.depth)
    }

    pub(in crate::rpc) fn value(&mut self, value: &Value) -> Result<&mut Self, Unsendable> {
        self.value_within(value, self.depth)
    }

    pub(in crate::rpc) fn str(&mut self, text: &str) -> Result<&mut Self, Unsendable> {
        self.head(LABEL_VALUE)?.str(text)?;
        Ok(self)
    }

    pub(in crate::rpc) fn int(&mut self, number: i64) -> Result<&mut Self, Unsendable> {
        self.head(LABEL_VALUE)?.int(number);
        Ok(self)
    }

    /// Writes one value as the only argument.
    pub(in crate::rpc) fn value_argument(
        &mut self,
        value: &Value,
    ) -> Result<&mut Self, Unsendable> {
        let depth = self.checker.inner(self.depth)?;
        self.head(LABEL_VALUE)?.tuple(1)?;
        self.plain(value, depth)
    }

    /// Writes an exception, which is never boxed; its values have been checked.
    pub(in crate::rpc) fn exception(
        &mut self,
        exception: &Exception,
        version: &str,
    ) -> Result<(), Unsendable> {
        Ok(exception.encode(version, self.out)?)
    }

    /// Writes an object of the peer's.
    pub(in crate::rpc) fn remote(&mut self, object: &IdPack) -> Result<&mut Self, Unsendable> {
        self.head(LABEL_RECEIVERS)?;
        self.out.extend_from_slice(object.as_brine());
        Ok(self)
    }

    /// Writes the id pack of an object of the peer's as the only argument, by value.
    pub(in crate::rpc) fn id_argument(&mut self, object: &IdPack) -> Result<&mut Self, Unsendable> {
        self.head(LABEL_VALUE)?.tuple(1)?;
        self.out.extend_from_slice(object.as_brine());
        Ok(self)
    }

    /// Writes a tuple, by value if it can be.
    pub(in crate::rpc) fn members(&mut self, members: &[Boxed]) -> Result<&mut Self, Unsendable> {
        let depth = self.checker.inner(self.depth)?;
        let all_values = members.iter().all(|member| matches!(member, Boxed::Value(_)));
        if all_values {
            self.head(LABEL_VALUE)?.tuple(members.len())?;
        } else {
            self.tuple(members.len())?;
        }
        for member in members {
            match member {
                Boxed::Value(value) if all_values => self.plain(value, depth)?,
                member => self.boxed_within(member, depth)?,
            };
        }
        Ok(self)
    }

    /// Writes a tuple of pairs of name and value, by value if it can be.
    pub(in crate::rpc) fn pairs(
        &mut self,
        pairs: &[(String, Boxed)],
    ) -> Result<&mut Self, Unsendable> {
        let depth = self.checker.inner(self.checker.inner(self.depth)?)?;
        let all_values = pairs.iter().all(|(_, boxed)| matches!(boxed, Boxed::Value(_)));
        if all_values {
            self.head(LABEL_VALUE)?.tuple(pairs.len())?;
        } else {
            self.tuple(pairs.len())?;
        }
        for (name, boxed) in pairs {
            match boxed {
                Boxed::Value(value) => {
                    if !all_values {
                        self.head(LABEL_VALUE)?;
                    }
                    Writer::new(self.out).tuple(2)?.str(name)?;
                    self.plain(value, depth)?;
                }
                reference => {
                    self.tuple(2)?.str(name)?.boxed_within(reference, depth)?;
                }
            }
        }
        Ok(self)
    }

    fn boxed_within(&mut self, boxed: &Boxed, depth: u16) -> Result<&mut Self, Unsendable> {
        match boxed {
            Boxed::Value(value) => return self.value_within(value, depth),
            Boxed::Tuple(members) => {
                let depth = self.checker.inner(depth)?;
                self.tuple(members.len())?;
                for member in members {
                    self.boxed_within(member, depth)?;
                }
            }
            Boxed::Local(object) => {
                self.head(LABEL_SENDERS)?;
                self.objects.send(*object, self.out)?;
            }
            Boxed::Remote(object) => return self.remote(object),
        }
        Ok(self)
    }

    fn value_within(&mut self, value: &Value, depth: u16) -> Result<&mut Self, Unsendable> {
        self.head(LABEL_VALUE)?;
        self.plain(value, depth)
    }

    /// A value without a box around it.
    fn plain(&mut self, value: &Value, depth: u16) -> Result<&mut Self, Unsendable> {
        self.checker.check(value, depth)?;
        Writer::new(self.out).value(value)?;
        Ok(self)
    }

    /// The head of a tuple of boxes.
    fn tuple(&mut self, len: usize) -> Result<&mut Self, Unsendable> {
        self.head(LABEL_TUPLE)?.tuple(len)?;
        Ok(self)
    }

    /// The head of a box; its content follows.
    fn head(&mut self, label: i64) -> Result<Writer<'_>, Unsendable> {
        // To the reader: the pair, the label, and the four values of an id pack at most.
        self.checker.count(6)?;
        let mut out = Writer::new(self.out);
        out.tuple(2)?.int(label);
        Ok(out)
    }
}

/// Checks one value against the limits.
pub(in crate::rpc) fn check_value(value: &Value, limits: &Limits) -> Result<(), Unsendable> {
    Checker { limits, items_left: limits.items }.check(value, limits.depth)
}

#[derive(Debug)]
struct Checker<'a> {
    limits: &'a Limits,
    items_left: usize,
}

impl Checker<'_> {
    fn check(&mut self, value: &Value, depth: u16) -> Result<(), Unsendable> {
        self.count(1)?;
        let members = match value {
            Value::Int(int) => return self.check_int(int),
            Value::Tuple(members) => members.as_slice(),
            Value::FrozenSet(set) => set.0.as_slice(),
            Value::Slice(parts) => parts.as_slice(),
            _ => return Ok(()),
        };
        let depth = self.inner(depth)?;
        members.iter().try_for_each(|member| self.check(member, depth))
    }

    fn check_int(&self, int: &Int) -> Result<(), Unsendable> {
        if int.to_i64().is_some() {
            return Ok(());
        }
        let limit = self.limits.int_digits;
        // Writing the decimal text costs the square of its length, so the bits show which numbers
        // are surely too long: a digit is more than 3.3 of them.
        let bits = BigInt::from(int.clone()).bits();
        let surely_too_long = bits / 10 * 3 > u64::try_from(limit).unwrap_or(u64::MAX);
        if surely_too_long || int.to_string().trim_start_matches('-').len() > limit {
            return Err(Unsendable::IntTooLong { limit });
        }
        Ok(())
    }

    fn inner(&self, depth: u16) -> Result<u16, Unsendable> {
        depth.checked_sub(1).ok_or(Unsendable::TooDeep { limit: self.limits.depth })
    }

    fn count(&mut self, items: usize) -> Result<(), Unsendable> {
        self.items_left = self
            .items_left
            .checked_sub(items)
            .ok_or(Unsendable::TooManyItems { limit: self.limits.items })?;
        Ok(())
    }
}
