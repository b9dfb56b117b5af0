//! Distributes hosts over the sockets of an address.

use std::net::IpAddr;

/// One of the sockets that share an address, and the hosts whose datagrams it receives.
///
/// All datagrams of a host reach one socket. So the registry serves them in the order in which the
/// system received them, and the threads that serve the sockets need no lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    /// The number of the lane, from 0.
    pub(crate) index: u32,
    /// The number of lanes; at least 1.
    pub(crate) count: u32,
}

impl Lane {
    /// Whether datagrams from `source` belong to this lane.
    pub(crate) fn serves(self, source: IpAddr) -> bool {
        self.index == lane_of(source, self.count)
    }
}

/// Spreads neighbouring addresses: the golden ratio's fraction of 2^32, odd.
pub(super) const MULTIPLIER: u32 = 0x9e37_79b1;

/// The number of low bits of the product that are dropped: the high ones depend on all bits of the
/// address.
pub(super) const SHIFT: u32 = 16;

/// The lane of a source address. For each unicast datagram the system computes the same lane, by
/// the program in `steering.rs`.
fn lane_of(source: IpAddr, count: u32) -> u32 {
    let word = match source.to_canonical() {
        IpAddr::V4(ip) => u32::from(ip),
        IpAddr::V6(ip) => {
            let octets = ip.octets();
            octets
                .as_chunks::<4>()
                .0
                .iter()
                .fold(0, |folded, word| folded ^ u32::from_be_bytes(*word))
        }
    };
    (word.wrapping_mul(MULTIPLIER) >> SHIFT) % count.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_has_one_lane_and_the_lanes_share_the_hosts() {
        for count in 1..=8 {
            let mut hosts_of = vec![0; count as usize];
            for last in 0..=255_u8 {
                let v4 = IpAddr::from([10, 0, 0, last]);
                let v6 = IpAddr::from([0xfd77, 0, 0, 0, 0, 0, 0, u16::from(last)]);
                for source in [v4, v6] {
                    let serves = |index: &u32| Lane { index: *index, count }.serves(source);
                    let lanes: Vec<_> = (0..count).filter(serves).collect();
                    let [lane] = lanes[..] else { panic!("{source} has the lanes {lanes:?}") };
                    hosts_of[lane as usize] += 1;
                }
            }
            let fair = 512 / count;
            assert!(hosts_of.iter().all(|hosts| *hosts > fair / 2), "{hosts_of:?}");
        }
    }

    #[test]
    fn an_address_has_the_same_lane_however_it_is_written() {
        let mapped: IpAddr = "::ffff:10.0.0.7".parse().unwrap();
        assert_eq!(lane_of(mapped, 8), lane_of([10, 0, 0, 7].into(), 8));
    }
}
