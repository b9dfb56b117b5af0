//! The address of a server, as people write it.

use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::reply::Endpoint;
use rpyc_protocol::rpc::Dialect;

/// The address of a server: `HOST:PORT`, or the path of a unix socket, which has a `/` in it;
/// either may end in `?dialect=DIALECT`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServerAddr {
    pub(crate) endpoint: Endpoint,
    /// The dialect, where the address states it.
    pub(crate) dialect: Option<Dialect>,
}

impl ServerAddr {
    /// Reads an address; `None` if the text is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (place, dialect) = match text.rsplit_once("?dialect=") {
            Some((place, dialect)) => (place, Some(dialect.parse().ok()?)),
            None => (text, None),
        };
        Some(Self { endpoint: endpoint(place)?, dialect })
    }
}

fn endpoint(place: &str) -> Option<Endpoint> {
    if place.contains('/') {
        let path = place.strip_prefix("unix:").unwrap_or(place);
        return Some(Endpoint { host: "localhost".into(), port: Port::path(path).ok()? });
    }
    let (host, port) = place.rsplit_once(':')?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = bracketed.or_else(|| (!host.contains(':')).then_some(host))?;
    let port = Port::tcp(port.parse().ok()?).ok()?;
    (!host.is_empty()).then(|| Endpoint { host: host.into(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_port_or_a_path() {
        let check = |text: &str, expected: Option<&str>| {
            let address = ServerAddr::parse(text);
            let endpoint = address.map(|address| address.endpoint.to_string());
            assert_eq!(endpoint.as_deref(), expected, "{text}");
        };
        check("localhost:18861", Some("localhost:18861"));
        check("[::1]:18861", Some("[::1]:18861"));
        check("/run/payroll.sock", Some("localhost:/run/payroll.sock"));
        check("unix:/run/payroll.sock", Some("localhost:/run/payroll.sock"));
        check("localhost", None);
        check("::1", None);
        check("localhost:0", None);
        check(":18861", None);
    }

    #[test]
    fn an_address_may_state_the_dialect() {
        let check = |text: &str, endpoint: &str, dialect: Dialect| {
            let address = ServerAddr::parse(text).unwrap();
            assert_eq!(address.endpoint.to_string(), endpoint);
            assert_eq!(address.dialect, Some(dialect), "{text}");
        };
        check("localhost:1?dialect=5", "localhost:1", Dialect::V5);
        check("[::1]:1?dialect=6", "[::1]:1", Dialect::V6);
        let bound = Dialect::V5.with_bind_threads();
        check("/run/x.sock?dialect=5-bind-threads", "localhost:/run/x.sock", bound);
        assert_eq!(ServerAddr::parse("localhost:1").unwrap().dialect, None);
        assert_eq!(ServerAddr::parse("localhost:1?dialect=7"), None);
        assert_eq!(ServerAddr::parse("localhost:1?dialect="), None);
    }
}
