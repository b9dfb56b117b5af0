//! Parcels to boxes and back: what is offered to the peer gets its name here.

use std::sync::Arc;

use rpyc_protocol::brine::Value;
use rpyc_protocol::rpc::{Action, Arguments, Boxed, ExportError, ObjectId};

use super::super::Handle;
use super::State;
use crate::error::RequestFailure;
use crate::local::Ask;
use crate::{Args, Local, Parcel, RemoteObject};

impl State {
    pub(super) fn unpack_action(&mut self, action: Action, handle: &Arc<Handle>) -> Ask {
        match action {
            Action::GetAttr { name } => Ask::GetAttr { name },
            Action::DelAttr { name } => Ask::DelAttr { name },
            Action::SetAttr { name, value } => {
                Ask::SetAttr { name, value: self.unpack(value, handle) }
            }
            Action::Call { args } => Ask::Call { args: self.unpack_args(args, handle) },
            Action::CallAttr { name, args } => {
                Ask::CallAttr { name, args: self.unpack_args(args, handle) }
            }
            Action::Repr => Ask::Repr,
            Action::Str => Ask::Str,
            Action::Cmp { other, comparison } => {
                Ask::Cmp { other: self.unpack(other, handle), comparison }
            }
            Action::Hash => Ask::Hash,
            Action::Dir => Ask::Dir,
            Action::Pickle { protocol } => Ask::Pickle { protocol },
            Action::Inspect => Ask::Inspect,
            Action::BuffIter { count } => Ask::BuffIter { count },
            Action::OldSlicing { name, start, stop, args, .. } => {
                let ends = [start, stop].map(|end| end.into_value());
                let slice = match ends {
                    [Ok(start), Ok(stop)] => {
                        let step = Value::None;
                        Value::Slice(Box::new([start, stop, step])).into()
                    }
                    _ => Boxed::NONE,
                };
                let positional = std::iter::once(slice).chain(args).collect();
                let args = Arguments { positional, keyword: Vec::new() };
                Ask::CallAttr { name, args: self.unpack_args(args, handle) }
            }
            Action::CtxExit { exception } => {
                Ask::CtxExit { exception: self.unpack(exception, handle) }
            }
            Action::InstanceCheck { .. } => Ask::InstanceCheck,
        }
    }

    fn unpack_args(&mut self, args: Arguments, handle: &Arc<Handle>) -> Args {
        let positional =
            args.positional.into_iter().map(|boxed| self.unpack(boxed, handle)).collect();
        let keyword = args
            .keyword
            .into_iter()
            .map(|(name, boxed)| (name, self.unpack(boxed, handle)))
            .collect();
        Args::from_parts(positional, keyword)
    }

    pub(super) fn unpack(&mut self, boxed: Boxed, handle: &Arc<Handle>) -> Parcel {
        match boxed {
            Boxed::Value(value) => Parcel::Value(value),
            Boxed::Tuple(members) => Parcel::Tuple(
                members.into_iter().map(|member| self.unpack(member, handle)).collect(),
            ),
            Boxed::Local(object) => match self.exports.get(&object) {
                // What was handed on comes back as what it was.
                Some(local) => match local.forwarded() {
                    Some(remote) => remote.clone().into(),
                    None => local.clone().into(),
                },
                None => Parcel::NONE,
            },
            Boxed::Remote(id) => RemoteObject::new(handle.clone(), id).into(),
        }
    }

    pub(in super::super) fn pack_args(&mut self, args: Args) -> Result<Arguments, RequestFailure> {
        let (positional, keyword) = args.into_parts();
        let positional =
            positional.into_iter().map(|parcel| self.pack(parcel)).collect::<Result<_, _>>()?;
        let keyword = keyword
            .into_iter()
            .map(|(name, parcel)| Ok((name, self.pack(parcel)?)))
            .collect::<Result<_, ExportError>>()?;
        Ok(Arguments { positional, keyword })
    }

    /// To be called once a message was packed, whether it was sent or not: takes back the objects
    /// that were exported for it and did not go with it.
    pub(in super::super) fn withdraw_unsent(&mut self) {
        while let Some(object) = self.fresh.pop() {
            self.session.withdraw(object);
        }
        self.fresh.shrink_to(64);
    }

    /// Makes a box of a parcel, whose objects live on until the lock is released.
    ///
    /// The message must be sent or given up, and then [`State::withdraw_unsent`], under the same lock.
    pub(in super::super) fn pack(&mut self, parcel: Parcel) -> Result<Boxed, ExportError> {
        match parcel {
            Parcel::Value(value) => Ok(Boxed::Value(value)),
            Parcel::Tuple(members) => {
                let members = members.into_iter().map(|member| self.pack(member));
                Ok(Boxed::tuple(members.collect::<Result<_, _>>()?))
            }
            Parcel::Local(local) => {
                match local.forwarded().and_then(|remote| remote.id_on(self.number)) {
                    Some(id) => {
                        let boxed = Boxed::Remote(id.clone());
                        self.garbage.push(local.into());
                        Ok(boxed)
                    }
                    None => self.export(local).map(Boxed::Local),
                }
            }
            Parcel::Remote(remote) => match remote.id_on(self.number) {
                Some(id) => {
                    let boxed = Boxed::Remote(id.clone());
                    self.garbage.push(remote.into());
                    Ok(boxed)
                }
                None => self.forward(remote).map(Boxed::Local),
            },
        }
    }

    fn export(&mut self, local: Local) -> Result<ObjectId, ExportError> {
        let address = local.address();
        if let Some(&object) = self.ids.get(&address)
            && self.session.is_exported(object)
        {
            self.garbage.push(local.into());
            return Ok(object);
        }
        let object = match self.session.export(local.class()) {
            Ok(object) => object,
            Err(error) => {
                self.garbage.push(local.into());
                return Err(error);
            }
        };
        self.ids.insert(address, object);
        if let Some(remote) = local.forwarded() {
            self.forwarded.insert(remote.key(), object);
        }
        self.exports.insert(object, local);
        self.fresh.push(object);
        Ok(object)
    }

    /// Offers an object of another connection; the same one as before if it is offered already.
    fn forward(&mut self, remote: RemoteObject) -> Result<ObjectId, ExportError> {
        match self.forwarded.get(&remote.key()) {
            Some(&object) if self.session.is_exported(object) => {
                self.garbage.push(remote.into());
                Ok(object)
            }
            _ => self.export(Local::forwarding(remote)),
        }
    }
}
