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
    /// Instances that one other machine may register. Default 10,000. This machine is exempt. Like
    /// the limits below, it counts against the address that a registration came from (the /64
    /// network of an IPv6 address), not against one that the registration names.
    pub instances_per_source: usize,
    /// Registrations of one other machine. Default 40,000.
    pub registrations_per_source: usize,
    /// Bytes of memory, estimated, that the registrations of one other machine may take. Default
    /// 16 MiB.
    pub bytes_per_source: usize,
    /// Bytes of memory, estimated, that registrations in RPyC's own protocol from all other
    /// machines may take, because their sources can be forged: a server with one name takes about
    /// 450. Default 128 MiB.
    pub legacy_bytes: usize,
    /// Requests a second from one other machine, with bursts of one second's worth. The same number
    /// of renewals of existing registrations is served in addition. Default 2,000; 0 means no
    /// limit. This machine is exempt.
    pub requests_per_second: u32,
    /// Bytes a second of long answers in RPyC's protocol to one network (/24 of IPv4, /56 of IPv6)
    /// over UDP, where the source may be forged. An answer is long if it has more than three times
    /// the bytes of its request. The networks of this machine's own addresses are exempt. Default
    /// 256 KiB; 0 means no limit.
    pub answer_bytes_per_network: u64,
    /// The same for all networks together. Default 8 MiB; 0 means no limit.
    pub answer_bytes: u64,
    /// TCP connections open at a time. Default 16,384, enough for ten thousand watchers. A further
    /// one closes the one that has been idle longest, of the machine that has most of them.
    pub connections: usize,
    /// TCP connections of one other machine. Default 1,024. A further one closes the one of that
    /// machine that has been idle longest.
    pub connections_per_source: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            instances: 1_000_000,
            registrations: 4_000_000,
            names_per_instance: 64,
            name_bytes: ServiceName::MAX_BYTES,
            instances_per_source: 10_000,
            registrations_per_source: 40_000,
            bytes_per_source: 16 << 20,
            legacy_bytes: 128 << 20,
            requests_per_second: 2_000,
            answer_bytes_per_network: 256 << 10,
            answer_bytes: 8 << 20,
            connections: 16_384,
            connections_per_source: 1024,
        }
    }
}
