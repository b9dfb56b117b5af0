//! Converts parcels to boxes and back: an offered object gets its name for the peer here.

use std::sync::Arc;

use rpyc_protocol::rpc::{Action, Boxed, ExportError, ObjectId};

use super::super::Handle;
use super::State;
use crate::{Local, Parcel, RemoteObject};

impl State {
    pub(super) fn unpack(&mut self, boxed: Boxed, handle: &Arc<Handle>) -> Parcel {
        match boxed {
            Boxed::Value(value) => Parcel::Value(value),
            Boxed::Tuple(members) => Parcel::Tuple(
                members.into_iter().map(|member| self.unpack(member, handle)).collect(),
            ),
            Boxed::Local(object) => match self.exports.get(&object) {
                // A forwarded object comes back as the remote object that it stands for.
                Some(local) => match local.forwarded() {
                    Some(remote) => remote.clone().into(),
                    None => local.clone().into(),
                },
                None => Parcel::NONE,
            },
            Boxed::Remote(id) => RemoteObject::new(handle.clone(), id).into(),
        }
    }

    /// Makes boxes of the parcels of a request; see [`State::pack`].
    pub(in super::super) fn pack_action(
        &mut self,
        action: Action<Parcel>,
    ) -> Result<Action, ExportError> {
        let mut outcome = Ok(());
        let action = action.map(|parcel| self.pack_into(parcel, &mut outcome));
        outcome.map(|()| action)
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
    /// The message must be sent or dropped, followed by [`State::withdraw_unsent`] under the same
    /// lock.
    pub(in super::super) fn pack(&mut self, parcel: Parcel) -> Result<Boxed, ExportError> {
        let mut outcome = Ok(());
        let boxed = self.pack_into(parcel, &mut outcome);
        outcome.map(|()| boxed)
    }

    /// Makes a box of a parcel unless an earlier one failed. Then the parcel only lives on: its end
    /// may need the lock.
    fn pack_into(&mut self, parcel: Parcel, outcome: &mut Result<(), ExportError>) -> Boxed {
        let exported = match parcel {
            rest if outcome.is_err() => {
                self.garbage.push(rest);
                return Boxed::NONE;
            }
            Parcel::Value(value) => return Boxed::Value(value),
            Parcel::Tuple(members) => {
                let members = members.into_iter().map(|member| self.pack_into(member, outcome));
                return Boxed::tuple(members.collect());
            }
            Parcel::Local(local) => {
                match local.forwarded().and_then(|remote| remote.id_on(self.number)) {
                    Some(id) => {
                        let boxed = Boxed::Remote(id.clone());
                        self.garbage.push(local.into());
                        return boxed;
                    }
                    None => self.export(local),
                }
            }
            Parcel::Remote(remote) => match remote.id_on(self.number) {
                Some(id) => {
                    let boxed = Boxed::Remote(id.clone());
                    self.garbage.push(remote.into());
                    return boxed;
                }
                None => self.forward(remote),
            },
        };
        match exported {
            Ok(object) => Boxed::Local(object),
            Err(error) => {
                *outcome = Err(error);
                Boxed::NONE
            }
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
