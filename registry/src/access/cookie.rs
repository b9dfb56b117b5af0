//! Proof that a datagram's source is not forged.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;

use crate::host::Host;

/// How long a cookie is valid.
const LIFETIME: Duration = Duration::from_secs(900);

/// The bytes of a cookie: the microsecond at which it was made, the port that it was sent to, and
/// the keyed hash of both and the host. As text it has 22 characters, so that it fits into the
/// reply to the shortest request.
type Bytes = [u8; TIME + PORT + HASH];

const TIME: usize = 6;
const PORT: usize = 2;
const HASH: usize = 8;

/// Creates and checks cookies without storing any: each is a keyed hash of its receiver and the
/// time.
#[derive(Debug)]
pub(crate) struct Cookies {
    start: Instant,
    /// `SipHash` with a secret random key.
    key: RandomState,
}

impl Cookies {
    pub(crate) fn new(start: Instant) -> Self {
        Self { start, key: RandomState::new() }
    }

    /// A cookie for this host and port.
    pub(crate) fn make(&self, now: Instant, host: Host, port: u16) -> String {
        BASE64URL_NOPAD.encode(&self.made_at(self.micros(now), host, port))
    }

    /// When this registry sent the cookie to this host and port; `None` if it did not, or if that
    /// is too long ago.
    pub(crate) fn check(
        &self,
        now: Instant,
        host: Host,
        port: u16,
        cookie: &str,
    ) -> Option<Instant> {
        let (cookie, made, _) = parse(cookie)?;
        let is_valid = self.made_at(made, host, port) == cookie
            && self.micros(now).saturating_sub(made) < micros(LIFETIME);
        is_valid.then(|| self.start + Duration::from_micros(made))
    }

    /// Whether the cookie proves that its sender receives datagrams at this host, at any port.
    pub(crate) fn proves(&self, now: Instant, host: Host, cookie: &str) -> bool {
        parse(cookie).is_some_and(|(_, _, port)| self.check(now, host, port, cookie).is_some())
    }

    fn micros(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.start))
    }

    fn made_at(&self, made: u64, host: Host, port: u16) -> Bytes {
        let hash = self.key.hash_one((made, host, port));
        let mut bytes = Bytes::default();
        let parts = made.to_be_bytes().into_iter().skip(size_of::<u64>() - TIME);
        let parts = parts.chain(port.to_be_bytes()).chain(hash.to_be_bytes());
        bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
        bytes
    }
}

/// The bytes of a cookie, the microsecond at which it was made, and its port.
fn parse(cookie: &str) -> Option<(Bytes, u64, u16)> {
    let bytes: Bytes = BASE64URL_NOPAD.decode(cookie.as_bytes()).ok()?.try_into().ok()?;
    let made = bytes.iter().take(TIME).fold(0, |made, byte| made << 8 | u64::from(*byte));
    let port =
        bytes.iter().skip(TIME).take(PORT).fold(0, |port, byte| port << 8 | u16::from(*byte));
    Some((bytes, made, port))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_good_for_its_host_its_port_and_its_time() {
        let start = Instant::now();
        let cookies = Cookies::new(start);
        let host = |last: u8| Host::new([10, 0, 0, last].into(), 0);
        let made = start + Duration::from_secs(7);
        let cookie = cookies.make(made, host(1), 5000);
        assert_eq!(cookies.check(made, host(1), 5000, &cookie), Some(made));
        let late = made + LIFETIME;
        assert!(cookies.check(late - Duration::from_secs(1), host(1), 5000, &cookie).is_some());
        assert_eq!(cookies.check(late, host(1), 5000, &cookie), None);
        assert_eq!(cookies.check(made, host(1), 5001, &cookie), None);
        assert_eq!(cookies.check(made, host(2), 5000, &cookie), None);
        assert!(cookies.proves(made, host(1), &cookie));
        assert!(!cookies.proves(made, host(2), &cookie));
        assert_eq!(cookie.len(), 22);
        for bad in ["", "é", cookie.split_at(1).1, &format!("{cookie}A"), "AAAAAAAAAAAAAAAAAAAAAA"]
        {
            assert!(cookies.check(made, host(1), 5000, bad).is_none(), "{bad}");
        }
        assert_eq!(Cookies::new(start).check(made, host(1), 5000, &cookie), None);
    }

    #[test]
    fn a_cookie_cannot_be_given_another_time() {
        let start = Instant::now();
        let cookies = Cookies::new(start);
        let host = Host::new([10, 0, 0, 1].into(), 0);
        let cookie = cookies.make(start, host, 1);
        let later = format!("AAAAAAAB{}", cookie.split_at(8).1);
        assert_eq!(cookies.check(start + LIFETIME, host, 1, &later), None);
        assert_eq!(cookies.check(start, host, 1, &later), None);
    }
}
