//! The objects of both sides, and who still counts on them.

use std::collections::BTreeMap;

use crate::brine::Writer;
use crate::rpc::boxed::{Objects, Unsendable};
use crate::rpc::{Class, IdPack, ObjectId};

/// What this side offers and what it holds of the peer's.
///
/// While a message is written or read, the references in it are noted, so that a message that
/// fails half way leaves the counts as they were.
///
/// Trees, because there may be a million objects: they never stop to move to a larger table, and
/// give memory back as objects go.
#[derive(Debug)]
pub(super) struct ObjectTables {
    exports: BTreeMap<ObjectId, Export>,
    last_id: u64,
    export_limit: usize,
    /// References in the message that is being written.
    sent: Vec<ObjectId>,
    imports: BTreeMap<IdPack, Import>,
    /// References in the message that is being read.
    received: Vec<IdPack>,
}

/// An object of this side. The peer counts one reference for each time that it was sent.
#[derive(Debug)]
struct Export {
    class: Class,
    count: u64,
}

/// An object of the peer's. Each reference that came is handed to the layer above, which releases
/// each in its own time; the peer is notified when the last is gone, with their number.
///
/// A reference that comes while another is being released is a matter of the sum alone: the peer
/// cannot be made to drop an object that has just been handed out again.
#[derive(Debug, Default)]
struct Import {
    received: u64,
    released: u64,
}

impl ObjectTables {
    pub(super) fn new(export_limit: usize) -> Self {
        Self {
            exports: BTreeMap::new(),
            last_id: 0,
            export_limit,
            sent: Vec::new(),
            imports: BTreeMap::new(),
            received: Vec::new(),
        }
    }

    /// Gives an object a number, unless there are too many.
    pub(super) fn export(&mut self, class: &Class) -> Option<ObjectId> {
        if self.exports.len() >= self.export_limit {
            return None;
        }
        self.last_id += 1;
        let id = ObjectId(self.last_id);
        self.exports.insert(id, Export { class: class.clone(), count: 0 });
        Some(id)
    }

    pub(super) fn is_exported(&self, object: ObjectId) -> bool {
        self.exports.contains_key(&object)
    }

    /// Takes `count` references back; returns whether that dropped the object.
    pub(super) fn unref(&mut self, object: ObjectId, count: u64) -> bool {
        let Some(export) = self.exports.get_mut(&object) else { return false };
        export.count = export.count.saturating_sub(count);
        self.drop_unreferenced(object)
    }

    /// Drops an object without references; returns whether it did.
    pub(super) fn drop_unreferenced(&mut self, object: ObjectId) -> bool {
        let is_unreferenced = self.exports.get(&object).is_some_and(|export| export.count == 0);
        if is_unreferenced {
            self.exports.remove(&object);
        }
        is_unreferenced
    }

    /// The message was written: its references count.
    pub(super) fn commit_sent(&mut self) {
        clear(&mut self.sent);
    }

    /// The message was not written: takes its references back.
    pub(super) fn roll_back_sent(&mut self) {
        for object in self.sent.drain(..) {
            if let Some(export) = self.exports.get_mut(&object) {
                export.count = export.count.saturating_sub(1);
            }
        }
    }

    /// The message was read: the layer above gets its references.
    pub(super) fn commit_received(&mut self) {
        clear(&mut self.received);
    }

    /// The message was not understood: gives the references in it, to be released.
    pub(super) fn take_received(&mut self) -> Vec<IdPack> {
        std::mem::take(&mut self.received)
    }

    /// Releases one reference; after the last, returns the number to send to the peer.
    pub(super) fn release(&mut self, object: &IdPack) -> Option<u64> {
        let import = self.imports.get_mut(object)?;
        import.released += 1;
        if import.released < import.received {
            return None;
        }
        let count = import.received;
        self.imports.remove(object);
        Some(count)
    }

    pub(super) fn exports_len(&self) -> usize {
        self.exports.len()
    }

    pub(super) fn imports_len(&self) -> usize {
        self.imports.len()
    }
}

impl Objects for ObjectTables {
    fn find(&self, class_name: &str, class: i64, object: i64) -> Option<ObjectId> {
        let id = ObjectId(u64::try_from(object).ok()?);
        let export = self.exports.get(&id)?;
        let is_exact = export.class.name() == class_name && i64::from(export.class.id()) == class;
        is_exact.then_some(id)
    }

    fn receive(&mut self, id_pack: &[u8]) -> IdPack {
        let object = match self.imports.get_key_value(id_pack) {
            Some((object, _)) => object.clone(),
            None => IdPack::from_brine(id_pack),
        };
        self.imports.entry(object.clone()).or_default().received += 1;
        self.received.push(object.clone());
        object
    }

    fn send(&mut self, object: ObjectId, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        let export = self.exports.get_mut(&object).ok_or(Unsendable::UnknownObject(object))?;
        // Counting from 1, no connection lives long enough for another number.
        let number = i64::try_from(object.to_u64()).unwrap_or(i64::MAX);
        let class = &export.class;
        Writer::new(out).tuple(3)?.str(class.name())?.int(class.id().into()).int(number);
        export.count += 1;
        self.sent.push(object);
        Ok(())
    }
}

/// Empties a list, and gives memory back after a burst.
fn clear<T>(list: &mut Vec<T>) {
    if list.capacity() > 1024 {
        *list = Vec::new();
    }
    list.clear();
}
