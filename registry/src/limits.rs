//! Limits for all hosts together and for each.

use rpyc_protocol::{Limits as MessageLimits, ServiceName};

/// The most bytes of one request.
pub const MAX_REQUEST: usize = MessageLimits::REQUEST.bytes;

/// Limits on what a registry holds and serves. Beyond them it rejects requests: it does not answer
/// over UDP, closes the connection over TCP, and counts and logs the rejection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a literal with `..Limits::default()` stays valid")]
pub struct Limits {
    /// Instances, that is (host, port) pairs, in all. Default 1,000,000. Each costs a few hundred
    /// bytes.
    pub instances: usize,
    /// Registrations, that is (name, host, port) triples, in all. Default 4,000,000. Bounds memory
    /// where every instance has many names.
    pub registrations: usize,
    /// Names that one instance may have. Default 64.
    pub names_per_instance: usize,
    /// Bytes of a name, in upper case. Default 255, which is also the most.
    pub name_bytes: usize,
    /// Instances that one other machine may register. Default 10,000. This machine is exempt.
    pub instances_per_source: usize,
    /// Requests a second from one other machine, with bursts of one second's worth. The same number
    /// of renewals of existing registrations is served in addition. Default 2,000; 0 means no
    /// limit. This machine is exempt.
    pub requests_per_second: u32,
    /// TCP connections open at a time; a further one closes the one that has been idle longest.
    /// Default 16,384, enough for ten thousand watchers.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            instances: 1_000_000,
            registrations: 4_000_000,
            names_per_instance: 64,
            name_bytes: ServiceName::MAX_BYTES,
            instances_per_source: 10_000,
            requests_per_second: 2_000,
            connections: 16_384,
        }
    }
}
