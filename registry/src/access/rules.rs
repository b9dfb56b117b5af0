//! The rules, and the one function that applies them.

use rpyc_protocol::FoldedName;

use super::announcing::AddressGrant;
use super::principal::{Identity, Principal, Proof};
use crate::refusal::Refusal;

/// The askers that may list the names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the switch has three positions")]
pub enum Listing {
    /// Askers on this machine, and operators.
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
    /// The networks whose askers are operators if their source is proven: by a connection, or over
    /// UDP by a cookie. Operators on this machine use the socket for operators.
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
                    Listing::ThisMachine => {
                        // The answer goes to the source, so that a forged one learns nothing.
                        principal.asker.is_here || self.is_of_operators(principal)
                    }
                    Listing::Everyone => true,
                    Listing::Nobody => false,
                };
                refuse_unless(is_allowed, Refusal::ListingForbidden)
            }
            Right::Operate => {
                let is_proven = principal.proof != Proof::Datagram;
                let is_operator = is_proven && self.is_of_operators(principal);
                refuse_unless(is_operator, Refusal::NotAnOperator)
            }
        }
    }

    /// Whether `principal` is an operator, if its source is as it says.
    fn is_of_operators(&self, principal: &Principal<'_>) -> bool {
        match principal.identity() {
            Identity::Here => true,
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
    fn the_default_lists_to_this_machine_and_to_operators() {
        let operators = vec!["10.0.0.8/32".parse().unwrap()];
        let access = Access { operators, ..Access::default() };
        let (tcp, unix) = (Transport::Tcp, Transport::Unix);
        for (asker, may_list, may_operate) in [
            (asker(1, true, unix), true, true),
            (asker(1, true, tcp), true, false),
            (asker(8, false, tcp), true, true),
            (asker(9, false, tcp), false, false),
        ] {
            let decide = |right| access.decide(&Principal::new(&asker), right, None);
            for right in [Right::Hold, Right::Register, Right::Resolve] {
                assert_eq!(decide(right), Ok(()));
            }
            let expected = |is_allowed, refusal| if is_allowed { Ok(()) } else { Err(refusal) };
            assert_eq!(decide(Right::List), expected(may_list, Refusal::ListingForbidden));
            assert_eq!(decide(Right::Watch), expected(may_list, Refusal::ListingForbidden));
            assert_eq!(decide(Right::Operate), expected(may_operate, Refusal::NotAnOperator));
        }
    }

    #[test]
    fn only_a_proven_source_operates() {
        let everywhere = ["0.0.0.0/0", "::/0"].map(|network| network.parse().unwrap());
        let access = Access { operators: everywhere.to_vec(), ..Access::default() };
        for transport in [Transport::Udp4, Transport::Udp6] {
            for is_here in [false, true] {
                let asker = asker(8, is_here, transport);
                let bare = Principal::new(&asker);
                let operate = |principal| access.decide(principal, Right::Operate, None);
                assert_eq!(operate(&bare), Err(Refusal::NotAnOperator));
                assert_eq!(operate(&bare.with_cookie(Instant::now())), Ok(()));
                assert_eq!(access.decide(&bare, Right::List, None), Ok(()));
            }
        }
    }

    #[test]
    fn no_address_of_this_machine_makes_an_operator() {
        for transport in [Transport::Udp4, Transport::Udp6, Transport::Tcp] {
            let asker = asker(1, true, transport);
            let principal = Principal::new(&asker).with_cookie(Instant::now());
            let decided = Access::default().decide(&principal, Right::Operate, None);
            assert_eq!(decided, Err(Refusal::NotAnOperator));
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
