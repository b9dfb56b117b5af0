//! The piece of an answer that tells one instance.

use rpyc_protocol::brine::{EncodeError, Writer};
use rpyc_protocol::registry::Port;

/// The longest fragment that is kept: an IPv4 address with any port takes 26 bytes.
const MAX_BYTES: usize = 30;

/// `(host, port)` as brine, written once instead of at every query, for those askers who are all told the
/// same. A value of 32 bytes, so that those of one service lie side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment {
    audience: Audience,
    len: u8,
    bytes: [u8; MAX_BYTES],
}

/// Who is told the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Everybody.
    All,
    /// Whoever asks from the registry's own machine.
    Here,
    /// Nobody: what is told depends on who asks.
    Nobody,
}

impl Fragment {
    /// What `audience` is told of an instance. What is too long to be kept is nobody's.
    pub(super) fn new(audience: Audience, host: &str, port: &Port) -> Self {
        let mut fragment = Self { audience, len: 0, bytes: [0; MAX_BYTES] };
        let mut entry = Vec::new();
        let is_written = audience != Audience::Nobody && encode(&mut entry, host, port).is_ok();
        match (u8::try_from(entry.len()), fragment.bytes.get_mut(..entry.len())) {
            (Ok(len), Some(room)) if is_written => {
                room.copy_from_slice(&entry);
                fragment.len = len;
            }
            _ => fragment.audience = Audience::Nobody,
        }
        fragment
    }

    /// What this asker is told, if that is kept.
    pub(super) fn told(&self, is_here: bool) -> Option<&[u8]> {
        match self.audience {
            Audience::All => {}
            Audience::Here if is_here => {}
            Audience::Here | Audience::Nobody => return None,
        }
        self.bytes.get(..usize::from(self.len))
    }
}

/// Appends `(host, port)` as brine.
pub(super) fn encode(out: &mut Vec<u8>, host: &str, port: &Port) -> Result<(), EncodeError> {
    let mut out = Writer::new(out);
    out.tuple(2)?.str(host)?;
    port.encode(&mut out)
}
