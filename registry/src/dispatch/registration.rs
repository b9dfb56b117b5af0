//! Decodes native registrations.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::Registration;

use crate::access::Announcing;
use crate::host::Host;
use crate::refusal::Refusal;
use crate::table::{Asker, Endpoint, NewInstance, Standing};

/// The most addresses of an instance.
pub const MAX_ADDRESSES: usize = 8;

/// The most bytes of a registrant's key.
pub const MAX_KEY_BYTES: usize = 64;

/// Reads a registration, whose copies left their sender after `sent_after`. The address of the
/// instance is the asker's if it names none.
pub(super) fn read<P: Fn(Host) -> bool>(
    announcing: &Announcing<'_, P>,
    sent_after: Instant,
    registration: Registration,
    names_limit: usize,
) -> Result<NewInstance, Refusal> {
    let asker = announcing.asker;
    let Registration { names, port, addresses, ttl_ms, key, replaces, exclusive, mut details } =
        registration;
    if names.is_empty() {
        return Err(Refusal::NoNames);
    }
    if names.len() > names_limit {
        return Err(Refusal::TooManyNames { limit: names_limit });
    }
    let mut folded: Vec<ServiceName> = Vec::with_capacity(names.len());
    for name in &names {
        let name = ServiceName::new(name)?;
        if name.as_str().is_empty() {
            return Err(Refusal::NoNames);
        }
        if !folded.contains(&name) {
            folded.push(name);
        }
    }
    if addresses.len() > MAX_ADDRESSES {
        return Err(Refusal::TooManyAddresses { limit: MAX_ADDRESSES });
    }
    if key.as_ref().is_some_and(|key| key.len() > MAX_KEY_BYTES) {
        return Err(Refusal::KeyTooLong { limit: MAX_KEY_BYTES });
    }
    check_path(&port, false)?;
    crate::details::bound(&mut details);
    crate::details::check(&details)?;
    let addresses: Vec<SocketAddr> =
        addresses.iter().map(|text| read_address(asker, text, &port)).collect::<Result<_, _>>()?;
    if let Some(other) = addresses.iter().find(|it| !announcing.allows(Host::from(**it))) {
        return Err(Refusal::AddressNotAllowed { address: other.ip(), registrant: asker.host });
    }
    let endpoint = endpoint(asker, &addresses, port)?;
    let is_holder = announcing.is_holder(endpoint.host);
    Ok(NewInstance {
        names: folded,
        endpoint,
        addresses,
        ttl: ttl_ms.map(Duration::from_millis),
        key: key.map(String::into_boxed_str),
        is_exclusive: exclusive,
        details,
        standing: Standing { is_holder, sent_after, replaces },
    })
}

/// Refuses the path of a unix socket that a script would not read as one word, and could even run.
///
/// Servers in Python register the path that they were given, so that a relative path or one with
/// spaces is allowed to them, but not one that is both.
pub(super) fn check_path(port: &Port, is_legacy: bool) -> Result<(), Refusal> {
    let Port::Path(path) = port else { return Ok(()) };
    let is_absolute = path.starts_with('/');
    let has_spaces = path.contains(char::is_whitespace);
    let is_fit = if is_legacy { is_absolute || !has_spaces } else { is_absolute && !has_spaces };
    if is_fit && !path.contains(char::is_control) {
        Ok(())
    } else {
        Err(Refusal::SocketPath(path.chars().take(64).collect()))
    }
}

/// The host and port that identify a server: its first address.
fn endpoint(asker: &Asker, addresses: &[SocketAddr], port: Port) -> Result<Endpoint, Refusal> {
    match addresses.first() {
        Some(first) => Ok(Endpoint { host: Host::from(*first), port: Port::tcp(first.port())? }),
        None => Ok(Endpoint { host: asker.host, port }),
    }
}

/// Reads `IP` or `IP:PORT`, with or without a zone. A zone number is meaningless on another
/// machine, so a link-local address gets the link by which the registration arrived.
fn read_address(asker: &Asker, text: &str, port: &Port) -> Result<SocketAddr, Refusal> {
    let fault = || Refusal::Address(text.chars().take(64).collect());
    let (ip, port) = match text.parse::<SocketAddr>() {
        Ok(address) => (address.ip(), address.port()),
        Err(_) => {
            let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
            let bare = bare.split_once('%').map_or(bare, |(ip, _)| ip);
            let ip: IpAddr = bare.parse().map_err(|_not_an_address| fault())?;
            (ip, port.to_tcp().ok_or_else(fault)?)
        }
    };
    let ip = ip.to_canonical();
    if ip.is_unspecified() || ip.is_multicast() || port == 0 || is_broadcast(ip) {
        return Err(fault());
    }
    Ok(match ip {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            std::net::SocketAddrV6::new(ip, port, 0, asker.link).into()
        }
        ip => SocketAddr::new(ip, port),
    })
}

fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
}
