//! Proof that the addresses of a registration are this machine's.

use std::net::{IpAddr, SocketAddr};

use futures_util::future::join_all;
use rpyc_protocol::registry::native::{ErrorCode, Granted, Operation, Registration};

use super::{Answer, Native};
use crate::registrar::question::Question;
use crate::{Attempt, Fault, Registrar, Registries, RegistryAddr, RequestError};

impl Native {
    /// Begins a lease. The same registration with the same [`key`](Registration::key) is the same
    /// lease, so one whose answer was lost may be sent again.
    ///
    /// A registry takes addresses of this machine only. If it doubts one, this sends it a request
    /// from each of the addresses, and registers again with the cookies that it returns.
    ///
    /// # Errors
    /// [`RequestError`]; declined among other reasons with
    /// [`NameTaken`](ErrorCode::NameTaken) for an exclusive name, and with
    /// [`AddressNotAllowed`](ErrorCode::AddressNotAllowed) for an address that is neither this
    /// machine's nor allowed by the registry's configuration.
    pub async fn register(
        &self,
        registration: Registration,
    ) -> Result<Answer<Granted>, RequestError> {
        let addresses = registration.addresses.clone();
        let operation = Operation::Register(registration);
        let question = Question::native(operation.clone());
        let refused = match self.request(question, |reply| reply.lease).await {
            Err(refused) if refused.code() == Some(ErrorCode::AddressNotAllowed) => refused,
            outcome => return outcome,
        };
        let Some((registry, at_responder)) = refused.attempts().iter().find_map(doubting) else {
            return Err(refused);
        };
        let asking = self.registrar.to_builder().only(Registries::from(at_responder.clone()));
        let sources = addresses.iter().filter_map(|address| ip(address));
        let proofs = sources.map(|source| {
            // The registry may have an address of the other IP version, too.
            let is_alike = at_responder.host().contains(':') == source.is_ipv6();
            let configured = self.registrar.inner.configured.clone();
            let asking =
                if is_alike { asking.clone() } else { asking.clone().registries(configured) };
            prove(asking.source((source, 0).into()).build())
        });
        let proofs: Vec<_> = join_all(proofs).await.into_iter().flatten().collect();
        if proofs.is_empty() {
            return Err(refused);
        }
        let native = asking.build().native();
        let question = Question::registration(operation, proofs);
        let mut answer = native.request(question, |reply| reply.lease).await?;
        answer.registry = registry;
        Ok(answer)
    }
}

/// The registry that doubts an address, as configured and at the address that it answered from.
fn doubting(attempt: &Attempt) -> Option<(RegistryAddr, RegistryAddr)> {
    let is_doubt = |code: &ErrorCode| *code == ErrorCode::AddressNotAllowed;
    let Attempt { registry, responder, fault: Fault::Declined { code, .. } } = attempt else {
        return None;
    };
    let at_responder = RegistryAddr::new(registry.transport(), (*responder)?).ok()?;
    is_doubt(code).then(|| (registry.clone(), at_responder))
}

/// The address without its port; `None` if no registry could be asked from it.
fn ip(address: &str) -> Option<IpAddr> {
    let ip = match address.parse::<SocketAddr>() {
        Ok(address) => address.ip(),
        Err(_not_with_a_port) => address.split('%').next()?.parse().ok()?,
    };
    (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
}

/// The cookie that a registry sends to the source of a registrar; `None` if that is not an address
/// of this machine, or if no answer comes.
async fn prove(registrar: Registrar) -> Option<String> {
    let native = registrar.native();
    let answer = native.request(Question::native(Operation::Ping), |reply| reply.cookie).await;
    match answer {
        Ok(answer) => Some(answer.value),
        Err(error) => {
            tracing::debug!(%error, "an address is not proven");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_a_port_or_a_zone() {
        for (text, expected) in [
            ("10.0.0.7", Some("10.0.0.7")),
            ("10.0.0.7:1", Some("10.0.0.7")),
            ("fd00::7", Some("fd00::7")),
            ("[fd00::7]:1", Some("fd00::7")),
            ("fe80::7%eth0", Some("fe80::7")),
            ("127.0.0.1", None),
            ("::", None),
            ("somewhere", None),
        ] {
            assert_eq!(ip(text), expected.map(|it| it.parse().unwrap()), "{text}");
        }
    }
}
