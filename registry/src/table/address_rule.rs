//! An operator's replacement for addresses that are reachable only inside one network.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Replaces addresses within one network by another address, for askers outside that network.
/// Examples are the host that forwards to containers and the outer side of a NAT.
///
/// Written `FROM=TO` on the command line, and with these two keys in a configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct AddressRule {
    from: IpNet,
    to: IpAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    from: IpNet,
    to: IpAddr,
}

impl AddressRule {
    /// A rule that replaces addresses within `from` by `to`.
    ///
    /// # Errors
    /// [`AddressRuleError`] if no machine could connect to `to`, or if the IP versions differ. The
    /// configuration is at fault.
    pub fn new(from: IpNet, to: IpAddr) -> Result<Self, AddressRuleError> {
        let to = to.to_canonical();
        let means_nothing_elsewhere = match to {
            IpAddr::V4(to) => to.is_link_local() || to.is_broadcast(),
            IpAddr::V6(to) => to.is_unicast_link_local(),
        };
        if means_nothing_elsewhere || to.is_unspecified() || to.is_multicast() || to.is_loopback() {
            return Err(AddressRuleError::Target(to));
        }
        if from.addr().is_ipv4() != to.is_ipv4() {
            return Err(AddressRuleError::Families { from, to });
        }
        Ok(Self { from: from.trunc(), to })
    }

    /// The network whose addresses are replaced.
    #[must_use]
    pub fn from(&self) -> IpNet {
        self.from
    }

    /// The address that replaces them.
    #[must_use]
    pub fn to(&self) -> IpAddr {
        self.to
    }
}

impl TryFrom<Unchecked> for AddressRule {
    type Error = AddressRuleError;

    fn try_from(rule: Unchecked) -> Result<Self, AddressRuleError> {
        Self::new(rule.from, rule.to)
    }
}

impl FromStr for AddressRule {
    type Err = AddressRuleError;

    fn from_str(text: &str) -> Result<Self, AddressRuleError> {
        let read = || {
            let (from, to) = text.split_once('=')?;
            Some((from.trim().parse().ok()?, to.trim().parse().ok()?))
        };
        let (from, to) = read().ok_or_else(|| AddressRuleError::Text(text.into()))?;
        Self::new(from, to)
    }
}

impl fmt::Display for AddressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.from, self.to)
    }
}

/// Why a text or a pair of addresses is not a valid [`AddressRule`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressRuleError {
    /// One side is IPv4 and the other IPv6.
    #[error("{from} and {to} are of different IP versions: write a rule for each version")]
    Families {
        /// The network.
        from: IpNet,
        /// The address that would replace them.
        to: IpAddr,
    },
    /// The replacement is not an address that another machine could connect to.
    #[error("other machines cannot connect to {0}")]
    Target(IpAddr),
    /// The text does not have the form `NETWORK=ADDRESS`.
    #[error("invalid address rule {0:?}: write NETWORK=ADDRESS, like 172.17.0.0/16=10.0.0.5")]
    Text(Box<str>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_written() {
        let rule: AddressRule = "172.17.0.1/16 = 10.0.0.5".parse().unwrap();
        assert_eq!(rule.to_string(), "172.17.0.0/16=10.0.0.5");
        let json = r#"{"from":"172.17.0.0/16","to":"10.0.0.5"}"#;
        assert_eq!(serde_json::to_string(&rule).unwrap(), json);
        assert_eq!(serde_json::from_str::<AddressRule>(json).unwrap(), rule);
    }

    #[test]
    fn rules_that_cannot_help_are_refused() {
        let error = |text: &str| text.parse::<AddressRule>().unwrap_err();
        for bad in ["", "10.0.0.5", "10.0.0.0/33=10.0.0.5", "10.0.0.0/8=host"] {
            assert!(matches!(error(bad), AddressRuleError::Text(_)), "{bad}");
        }
        for to in ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "169.254.0.1"] {
            let bad = format!("172.17.0.0/16={to}");
            assert!(matches!(error(&bad), AddressRuleError::Target(_)), "{bad}");
        }
        assert!(matches!(error("fd00::/8=fe80::1"), AddressRuleError::Target(_)));
        assert!(matches!(error("fd00::/8=10.0.0.5"), AddressRuleError::Families { .. }));
        let unknown = r#"{"from":"172.17.0.0/16","to":"10.0.0.5","port":7}"#;
        serde_json::from_str::<AddressRule>(unknown).unwrap_err();
    }
}
