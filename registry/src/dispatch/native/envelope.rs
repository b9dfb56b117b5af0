//! The members that every reply has, and the limit on its length.

use rpyc_protocol::registry::native::{
    self, Cursor, ErrorBody, ErrorCode, MAX_AMPLIFICATION, MAX_DATAGRAM, Page, Reply, Revision,
};

use crate::access::{Principal, Proof};
use crate::refusal::Refusal;
use crate::table::{Extent, Sizes};

/// The most bytes of one native reply over TCP; the rest comes in further pages. Each connection
/// may have one unsent reply, so the number of connections times this bounds the memory.
const PAGE_BYTES: usize = 32 << 10;

/// The bytes that the parts of a page take, each with a comma.
pub(super) const JSON_SIZES: Sizes = Sizes {
    service: |name| {
        let service = native::Service { name: name.to_owned(), instances: Vec::new() };
        json_len(&service) + 1
    },
    instance: |instance| json_len(instance) + 1,
};

fn json_len(value: &impl serde::Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |json| json.len())
}

/// The number of bytes that a reply may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    bytes: usize,
    /// The number of bytes with a proof that the source is not forged.
    most: usize,
}

impl Room {
    pub(super) fn of(principal: &Principal<'_>, request: usize) -> Self {
        let unproven = request.saturating_mul(MAX_AMPLIFICATION).min(MAX_DATAGRAM);
        let (bytes, most) = match principal.proof {
            Proof::Connection => (PAGE_BYTES, PAGE_BYTES),
            Proof::Cookie => (MAX_DATAGRAM, MAX_DATAGRAM),
            Proof::Datagram => (unproven, MAX_DATAGRAM),
        };
        Self { bytes, most }
    }

    /// Whether a cookie would allow a longer reply.
    pub(super) fn may_grow(self) -> bool {
        self.bytes < self.most
    }
}

/// The members of a reply that do not depend on the operation.
#[derive(Debug)]
pub(in crate::dispatch) struct Envelope {
    pub(super) id: Option<u64>,
    /// Sent if the reply could have been longer with it.
    pub(super) cookie: Option<String>,
    pub(super) room: Room,
}

impl Envelope {
    /// The page that fits into a reply.
    pub(super) fn extent(&self, page: &Page, revision: Revision) -> Extent {
        let limit = page.limit.and_then(|limit| usize::try_from(limit).ok());
        Extent {
            after: page.after.unwrap_or_default(),
            limit: limit.unwrap_or(usize::MAX),
            budget: self.room.bytes.saturating_sub(self.page_head_len(revision)),
            sizes: JSON_SIZES,
        }
    }

    /// The length of a reply that has no instance yet, but says that there are more.
    fn page_head_len(&self, revision: Revision) -> usize {
        let big = Cursor { service: u64::from(u32::MAX), lease: u64::from(u32::MAX) };
        json_len(&Reply {
            v: native::VERSION,
            id: self.id,
            revision: Some(revision),
            count: Some(u64::from(u32::MAX)),
            truncated: true,
            next: Some(big),
            cookie: self.cookie.clone(),
            ..Reply::default()
        }) + r#","services":[]"#.len()
    }

    /// The encoded reply; `None` if not even the shortest fits.
    pub(in crate::dispatch) fn close(
        &self,
        mut reply: Reply,
        revision: Revision,
    ) -> Option<Vec<u8>> {
        reply.v = native::VERSION;
        reply.id = self.id;
        reply.revision.get_or_insert(revision);
        if reply.truncated {
            reply.cookie.clone_from(&self.cookie);
        }
        let bytes = reply.to_bytes();
        if self.fits(&bytes) {
            return Some(bytes);
        }
        // Omits the instances that do not fit, and keeps the cursor to the rest.
        let truncated =
            Reply { truncated: true, cookie: self.cookie.clone(), ..Reply::new(revision) };
        let truncated = Reply { id: self.id, ..truncated };
        let without_revision = Reply { revision: None, ..truncated.clone() };
        let shortest = Reply { cookie: None, ..without_revision.clone() };
        [truncated, without_revision, shortest]
            .iter()
            .map(Reply::to_bytes)
            .find(|bytes| self.fits(bytes))
    }

    /// The reply that a request must be repeated with this cookie. It omits the message if that
    /// does not fit, and for the shortest requests the error as well.
    pub(super) fn cookie_required(&self, refusal: &Refusal, cookie: String) -> Option<Vec<u8>> {
        let whole = Reply { id: self.id, cookie: Some(cookie), ..refusal.to_reply() };
        let error = Some(ErrorBody { code: ErrorCode::CookieRequired, message: String::new() });
        let without_message = Reply { error, ..whole.clone() };
        let bare = Reply { error: None, truncated: true, ..whole.clone() };
        let replies = [whole, without_message, bare];
        replies.iter().map(Reply::to_bytes).find(|bytes| self.fits(bytes))
    }

    /// The reply to a ping, with a cookie if that fits.
    pub(super) fn pong(&self, revision: Revision, cookie: String) -> Reply {
        let reply = Reply { id: self.id, cookie: Some(cookie), ..Reply::new(revision) };
        if self.fits(&reply.to_bytes()) { reply } else { Reply::new(revision) }
    }

    /// The reply that a change is not durable. It omits the reason if that does not fit, but never
    /// the error.
    pub(in crate::dispatch) fn not_durable(
        &self,
        revision: Revision,
        why: &str,
    ) -> Option<Vec<u8>> {
        let refusal = |why: String| {
            let reply = Reply::error(ErrorCode::NotDurable, why);
            Reply { id: self.id, revision: Some(revision), ..reply }.to_bytes()
        };
        let whole = refusal(format!("the change is made but not durable yet: {why}"));
        [whole, refusal(String::new())].into_iter().find(|bytes| self.fits(bytes))
    }

    fn fits(&self, bytes: &[u8]) -> bool {
        bytes.len() <= self.room.bytes
    }
}
