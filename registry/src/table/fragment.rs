//! The part of an answer that describes one instance.

use rpyc_protocol::brine::{EncodeError, Writer};
use rpyc_protocol::registry::Port;

/// The longest fragment that is kept: an IPv4 address with any port takes 26 bytes.
const MAX_BYTES: usize = 30;

/// `(host, port)` as brine, encoded once instead of at every query, for askers that all get the
/// same entry. A value of 32 bytes, so that the fragments of one service lie side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment {
    audience: Audience,
    len: u8,
    bytes: [u8; MAX_BYTES],
}

/// The askers that get the same entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// All askers.
    All,
    /// Askers on the registry's own machine.
    Here,
    /// No asker: the entry depends on the asker.
    Nobody,
}

impl Fragment {
    /// The entry of an instance for `audience`. An entry that is too long to keep has no audience.
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

    /// The entry for this asker, if it is kept.
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
