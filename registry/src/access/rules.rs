//! The rules, and the one function that applies them.

use rpyc_protocol::FoldedName;

use super::announcing::AddressGrant;
use super::principal::{Identity, Principal, Proof};
use crate::refusal::Refusal;

/// The askers that may list the names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the switch has three positions")]
pub enum Listing {
    /// Askers on this machine.
    #[default]
    ThisMachine,
    /// Every asker.
    Everyone,
    /// No asker.
    Nobody,
}

/// The rules for operations that only some askers may do.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a literal with `..Default::default()` stays valid")]
pub struct Access {
    /// The askers that may list the names.
    pub listing: Listing,
    /// The networks besides this machine whose askers are operators.
    pub operators: Vec<ipnet::IpNet>,
    /// The addresses that registrants may announce although they have not proven them.
    pub addresses: Vec<AddressGrant>,
}

/// A right that an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// Renew, change or end its own registration, identified by the lease id or, in RPyC's own
    /// protocol, by the asker's address.
    Hold,
    /// Read every name, or the state of the registry.
    List,
    /// Change registrations of others.
    Operate,
    /// Register an instance.
    Register,
    /// Ask which instances serve a name.
    Resolve,
    /// Follow the changes of a name, or of many.
    Watch,
}

impl Access {
    /// Decides whether `principal` has this right to `name`, or to all names without one.
    ///
    /// # Errors
    /// [`Refusal::ListingForbidden`], [`Refusal::NeedsTcp`] and [`Refusal::NotAnOperator`].
    #[inline]
    pub(crate) fn decide(
        &self,
        principal: &Principal<'_>,
        right: Right,
        name: Option<&FoldedName>,
    ) -> Result<(), Refusal> {
        let refuse_unless = |is_allowed, refusal| if is_allowed { Ok(()) } else { Err(refusal) };
        match right {
            Right::Hold | Right::Register | Right::Resolve => Ok(()),
            Right::Watch if principal.proof != Proof::Connection => Err(Refusal::NeedsTcp),
            // The right to resolve a name includes the right to follow it.
            Right::Watch if name.is_some() => self.decide(principal, Right::Resolve, name),
            Right::List | Right::Watch => {
                let is_allowed = match self.listing {
                    Listing::ThisMachine => self.is_operator(principal),
                    Listing::Everyone => true,
                    Listing::Nobody => false,
                };
                refuse_unless(is_allowed, Refusal::ListingForbidden)
            }
            Right::Operate => refuse_unless(self.is_operator(principal), Refusal::NotAnOperator),
        }
    }

    fn is_operator(&self, principal: &Principal<'_>) -> bool {
        match principal.identity() {
            Identity::ThisMachine => true,
            Identity::Network(ip) => self.operators.iter().any(|network| network.contains(&ip)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::host::Host;
    use crate::table::{Arrival, Asker, Transport};

    fn asker(last: u8, is_here: bool, transport: Transport) -> Asker {
        let host = Host::new([10, 0, 0, last].into(), 0);
        Asker {
            host,
            is_here,
            reached: None,
            port: 1,
            link: 0,
            transport,
            arrival: Arrival::UNKNOWN,
        }
    }

    #[test]
    fn the_default_lists_to_this_machine_and_its_operators() {
        let operators = vec!["10.0.0.8/32".parse().unwrap()];
        let access = Access { operators, ..Access::default() };
        for (last, is_here, is_operator) in [(1, true, true), (8, false, true), (9, false, false)] {
            let asker = asker(last, is_here, Transport::Tcp);
            let decide = |right| access.decide(&Principal::new(&asker), right, None);
            for right in [Right::Hold, Right::Register, Right::Resolve] {
                assert_eq!(decide(right), Ok(()));
            }
            let expected = |refusal| if is_operator { Ok(()) } else { Err(refusal) };
            assert_eq!(decide(Right::List), expected(Refusal::ListingForbidden));
            assert_eq!(decide(Right::Watch), expected(Refusal::ListingForbidden));
            assert_eq!(decide(Right::Operate), expected(Refusal::NotAnOperator));
        }
    }

    #[test]
    fn a_watch_needs_a_connection_and_one_name_no_more_rights_than_a_query() {
        let access = Access { listing: Listing::Nobody, ..Access::default() };
        let name = FoldedName::new("a").unwrap();
        let tcp = asker(1, false, Transport::Tcp);
        let watch = |principal: Principal<'_>, name| access.decide(&principal, Right::Watch, name);
        assert_eq!(watch(Principal::new(&tcp), Some(&name)), Ok(()));
        assert_eq!(watch(Principal::new(&tcp), None), Err(Refusal::ListingForbidden));
        let udp = asker(1, true, Transport::Udp4);
        let proven = Principal::new(&udp).with_cookie(Instant::now());
        assert_eq!(proven.proof, Proof::Cookie);
        assert_eq!(watch(proven, Some(&name)), Err(Refusal::NeedsTcp));
        assert_eq!(Principal::new(&tcp).with_cookie(Instant::now()).proof, Proof::Connection);
    }
}
