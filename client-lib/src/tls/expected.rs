//! The name that a certificate must hold.

use std::io;

use rpyc_protocol::ServiceName;
use rustls::pki_types::ServerName;
use tokio_rustls::rustls;

/// What is known of a server that is connected to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    /// Its host, from the caller or from a registry.
    pub(crate) host: &'a str,
    /// The service for which a registry has returned the host.
    pub(crate) service: Option<&'a ServiceName>,
}

impl<'a> Expected<'a> {
    /// A host that the caller names.
    pub(super) fn host(host: &'a str) -> Self {
        Self { host, service: None }
    }

    pub(super) fn host_name(&self) -> io::Result<ServerName<'static>> {
        ServerName::try_from(self.host.to_owned()).map_err(io::Error::other)
    }

    /// The name of the service, as a certificate holds it.
    pub(super) fn service_name(&self) -> io::Result<ServerName<'static>> {
        let name = self.service.map_or("", ServiceName::as_str).to_lowercase();
        ServerName::try_from(name.clone()).map_err(|_invalid| {
            io::Error::other(format!(
                "cannot verify a server by the name {name:?}: no certificate can hold it; \
                 use Tls::expecting_name"
            ))
        })
    }

    /// Adds to an error about a certificate which name it must hold, and why.
    pub(super) fn explain(&self, error: io::Error) -> io::Error {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        let (Some(rustls::Error::InvalidCertificate(_)), Some(service)) = (cause, self.service)
        else {
            return error;
        };
        let name = service.as_str().to_lowercase();
        io::Error::new(
            error.kind(),
            format!(
                "cannot verify a server of {service}: {error}; its certificate must hold the name \
                 {name:?}, or the one that Tls::expecting_name states"
            ),
        )
    }
}

/// A name for servers of which none is expected.
pub(super) fn no_name() -> ServerName<'static> {
    ServerName::try_from("service.invalid").expect("it is a name")
}
