//! The server that a verb connects to: a name or an address.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rpyc_client::{Connection, Registrar, Registries, ServiceName};

use super::{availability, registrar};
use crate::cli::SpeakArgs;

/// A server as written on the command line: a name, `HOST:PORT`, or the path of a unix socket. The
/// last two accept a suffix `?dialect=5` or `?dialect=6`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Address(String),
    Name(String),
}

impl FromStr for Target {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let place = text.rsplit_once("?dialect=").map_or(text, |(place, _)| place);
        let has_port = place.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let is_address = has_port || place.contains('/');
        Ok(if is_address { Self::Address(text.to_owned()) } else { Self::Name(text.to_owned()) })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(text) | Self::Name(text) => text.fmt(f),
        }
    }
}

impl Target {
    /// Connects to the server, or to one of the servers of the name.
    pub(crate) async fn connect(
        &self,
        registries: Option<Registries>,
        speak: SpeakArgs,
        timeout: Duration,
    ) -> anyhow::Result<Connection> {
        let builder = speak.builder().timeout(timeout).connect_timeout(timeout);
        Ok(match self {
            Self::Address(address) => builder.connect(address).await?,
            Self::Name(name) => {
                let (registrar, name): (Registrar, _) =
                    (registrar(registries, timeout)?, ServiceName::new(name)?);
                match builder.connect_through(&registrar, &name).await {
                    Err(error) if error.is_unknown_name() => {
                        let error = error.into();
                        return Err(availability::explained(error, &registrar, &name).await);
                    }
                    connected => connected?,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port_or_a_path() {
        for address in
            ["localhost:18861", "[::1]:18861", "10.0.0.5:1", "/run/x.sock", "./x", "a:1?dialect=5"]
        {
            assert_eq!(address.parse(), Ok(Target::Address(address.to_owned())));
        }
        for name in ["PAYROLL", "a:b", "x:99999", ""] {
            assert_eq!(name.parse(), Ok(Target::Name(name.to_owned())));
        }
    }
}
