//! Which registries are asked.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::{RegistryAddr, RegistryAddrError};

/// The environment variable that names the registries of this program: a comma-separated list of
/// [`RegistryAddr`].
pub const REGISTRY_VARIABLE: &str = "RPYC_REGISTRY";

/// The registries of a program, in the order in which they are asked.
///
/// A query goes to the first registry. The next one is asked too if no answer comes for a moment,
/// at once if none can come, and if the answer is that the name has no server.
///
/// ```
/// use rpyc_client::Registries;
///
/// let registries: Registries = "registry-a, tcp://registry-b:1234".parse()?;
/// assert_eq!(registries.to_string(), "udp://registry-a:18811,tcp://registry-b:1234");
/// # Ok::<(), rpyc_client::RegistryAddrError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registries {
    addrs: Vec<RegistryAddr>,
    /// Whether a server that is known to any one of them needs no other.
    one_is_enough: bool,
}

impl Registries {
    /// Registries that do not share what they know: a server registers with each of them.
    pub fn all_of(addrs: impl IntoIterator<Item = RegistryAddr>) -> Self {
        Self { addrs: addrs.into_iter().collect(), one_is_enough: false }
    }

    /// Registries of which any will do, such as several that share one store: a server announces
    /// itself to the first that acknowledges.
    pub fn any_of(addrs: impl IntoIterator<Item = RegistryAddr>) -> Self {
        Self { addrs: addrs.into_iter().collect(), one_is_enough: true }
    }

    /// The registries that need no configuration: one on this machine, or else one that receives an
    /// IPv4 broadcast or the IPv6 multicast group of this project, on port 18811.
    #[must_use]
    pub fn nearby() -> Self {
        Self::any_of([
            RegistryAddr::LOCALHOST_V4,
            RegistryAddr::LOCALHOST_V6,
            RegistryAddr::BROADCAST,
            RegistryAddr::MULTICAST,
        ])
    }

    /// What [`REGISTRY_VARIABLE`] lists, or [`Registries::nearby`] if it is not set or empty.
    ///
    /// # Errors
    /// [`RegistryAddrError`] if it is set to something else, the fault of the environment.
    pub fn from_env() -> Result<Self, RegistryAddrError> {
        Self::from_variable(std::env::var_os(REGISTRY_VARIABLE))
    }

    fn from_variable(value: Option<std::ffi::OsString>) -> Result<Self, RegistryAddrError> {
        let Some(value) = value else { return Ok(Self::nearby()) };
        match value.to_str() {
            None => Err(RegistryAddrError::NotUnicode),
            Some(list) if list.trim().is_empty() => Ok(Self::nearby()),
            Some(list) => list.parse(),
        }
    }

    /// The registries in the order in which they are asked.
    pub fn iter(&self) -> std::slice::Iter<'_, RegistryAddr> {
        self.addrs.iter()
    }

    /// The sets of registries; a server is found if it registers with each set. These are the
    /// single registries, or all of them together if any one will do.
    #[must_use]
    pub fn into_targets(self) -> Vec<Self> {
        if self.one_is_enough {
            return vec![self];
        }
        self.addrs.into_iter().map(Self::from).collect()
    }

    /// The same registries over TCP, without those that have no TCP address; all of them if none
    /// has one.
    pub(crate) fn over_tcp(&self) -> Self {
        let addrs: Vec<_> = self.iter().filter_map(RegistryAddr::over_tcp).collect();
        if addrs.is_empty() { self.clone() } else { Self { addrs, ..self.clone() } }
    }

    /// Leaves out those that a socket bound to `source` cannot reach, unless that is all of them:
    /// the attempt then reports why.
    pub(crate) fn reachable_from(mut self, source: IpAddr) -> Self {
        if self.iter().any(|addr| addr.may_be_reached_from(source)) {
            self.addrs.retain(|addr| addr.may_be_reached_from(source));
        }
        self
    }
}

impl From<RegistryAddr> for Registries {
    fn from(addr: RegistryAddr) -> Self {
        Self::all_of([addr])
    }
}

impl FromStr for Registries {
    type Err = RegistryAddrError;

    fn from_str(list: &str) -> Result<Self, RegistryAddrError> {
        let addrs: Result<Vec<_>, _> = list.split(',').map(str::parse).collect();
        Ok(Self::all_of(addrs?))
    }
}

impl<'a> IntoIterator for &'a Registries {
    type Item = &'a RegistryAddr;
    type IntoIter = std::slice::Iter<'a, RegistryAddr>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, addr) in self.addrs.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{addr}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_chooses_the_registries() {
        let of = |value: Option<&str>| Registries::from_variable(value.map(Into::into));
        assert_eq!(of(None), Ok(Registries::nearby()));
        assert_eq!(of(Some(" ")), Ok(Registries::nearby()));
        assert_eq!(of(Some("a,b")).unwrap().to_string(), "udp://a:18811,udp://b:18811");
        assert_eq!(of(Some("a,,b")), Err(RegistryAddrError::Empty));
    }

    #[test]
    fn listed_registries_are_told_one_by_one_and_nearby_ones_together() {
        let listed: Registries = "a,b".parse().unwrap();
        let targets: Vec<_> = listed.into_targets().iter().map(ToString::to_string).collect();
        assert_eq!(targets, ["udp://a:18811", "udp://b:18811"]);
        assert_eq!(Registries::nearby().into_targets(), [Registries::nearby()]);
    }

    #[test]
    fn a_source_address_leaves_only_its_family() {
        let v6 = Registries::nearby().reachable_from("2001:db8::1".parse().unwrap());
        assert_eq!(v6.to_string(), "udp://[::1]:18811,udp://[ff12::5250:5943]:18811");
        let v4 = Registries::nearby().reachable_from("10.0.0.1".parse().unwrap());
        assert_eq!(v4.to_string(), "udp://127.0.0.1:18811,udp://255.255.255.255:18811");
        let stuck: Registries = "10.0.0.2".parse().unwrap();
        assert_eq!(stuck.clone().reachable_from("::1".parse().unwrap()), stuck);
    }
}
