//! Selects the codec of a message.

use std::time::Instant;

use rpyc_protocol::registry::native::is_native;

use super::{Deferred, Dispatcher, Watch};
use crate::admission::Load;
use crate::refusal::Refusal;
use crate::table::Asker;

/// The result of a request: what the face must do.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "faces must handle every outcome")]
pub enum Outcome<'b> {
    /// Send this answer.
    Reply(&'b [u8]),
    /// Send this answer, or the refusal that it becomes, after the events that it waits for.
    Deferred(Deferred, &'b [u8]),
    /// Over TCP: send the changes, for as long as the asker stays.
    Watch(Box<Watch>),
    /// Send nothing; over TCP, close the connection.
    Refused(Refusal),
}

impl Dispatcher {
    /// Serves the bytes of one request, using `buffer` for the answer.
    pub fn handle<'b>(
        &self,
        now: Instant,
        asker: &Asker,
        message: &[u8],
        buffer: &'b mut Vec<u8>,
    ) -> Outcome<'b> {
        self.handle_under_load(now, asker, message, buffer, &mut Load::default())
    }

    /// Like [`Dispatcher::handle`], but `load` sheds registrations that are not renewals.
    pub(crate) fn handle_under_load<'b>(
        &self,
        now: Instant,
        asker: &Asker,
        message: &[u8],
        buffer: &'b mut Vec<u8>,
        load: &mut Load,
    ) -> Outcome<'b> {
        let outcome = match message.first() {
            Some(&first) if is_native(first) => self.native(now, asker, message, buffer, load),
            _ => self.legacy(now, asker, message, buffer, load),
        };
        outcome.unwrap_or_else(Outcome::Refused)
    }
}
