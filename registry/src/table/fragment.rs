//! The address of one instance, kept ready in its service's list.

use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::reply::SmallEntry;

use super::Asker;

/// The address that an instance advertises, as far as it is the same for many askers. A value of 32
/// bytes, so that the fragments of one service lie side by side.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fragment {
    /// All askers get this entry.
    All(SmallEntry),
    /// Askers on the registry's own machine get this entry; for others it depends.
    Here(SmallEntry),
    /// Only askers on this link, or on the registry's own machine, get an address.
    OnLink(u32),
    /// The address depends on the asker.
    PerAsker,
}

/// What a [`Fragment`] says about one asker.
pub(super) enum Choice<'f> {
    /// The asker gets this entry.
    Entry(&'f SmallEntry),
    /// The instance has no address for the asker.
    Nothing,
    /// [`Addressing`](super::addressing::Addressing) decides.
    Depends,
}

impl Fragment {
    /// The same entry for all askers, unless it is too long to keep.
    pub(super) fn all(host: &str, port: &Port) -> Self {
        SmallEntry::new(host, port).map_or(Self::PerAsker, Self::All)
    }

    /// The same entry for all askers on the registry's own machine, unless it is too long to keep.
    pub(super) fn here(host: &str, port: &Port) -> Self {
        SmallEntry::new(host, port).map_or(Self::PerAsker, Self::Here)
    }

    #[inline]
    pub(super) fn choose(&self, asker: &Asker) -> Choice<'_> {
        match self {
            Self::All(entry) => Choice::Entry(entry),
            Self::Here(entry) if asker.is_here => Choice::Entry(entry),
            Self::OnLink(link) if !asker.is_here && asker.link != *link => Choice::Nothing,
            Self::Here(_) | Self::OnLink(_) | Self::PerAsker => Choice::Depends,
        }
    }
}
