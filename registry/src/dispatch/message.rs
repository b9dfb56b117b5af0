//! One message in, one answer out: which codec reads it.

use std::time::Instant;

use rpyc_protocol::registry::native::is_native;

use super::{Deferred, Dispatcher, Watch};
use crate::admission::Load;
use crate::refusal::Refusal;
use crate::table::Asker;

/// What is to be done about a request.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "faces must handle every outcome")]
pub enum Outcome<'b> {
    /// Send this answer.
    Reply(&'b [u8]),
    /// Send this answer once what it waits for has happened, or what [`Deferred`] makes of it.
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

    /// Like [`Dispatcher::handle`]; refuses registrations that are no renewals as `load` demands.
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
