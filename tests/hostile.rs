//! Input that stops, blocks or corrupts RPyC's own registry does not disturb the daemon.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rpyc_tests::raw::{Datagrams, ask_tcp, hex};
use rpyc_tests::{Daemon, PATIENCE, Transport};

/// `("RPYC", 5, ())`, which terminates RPyC's registry.
const COMMAND_IS_A_NUMBER: &str = "12080d525059435502";
const REGISTER: &str = "12080d52505943080e0852454749535445521111080c464f4f080c42415216053138383631";
const QUERY: &str = "12080d52505943080e05515545525910080c666f6f";
const OK: &str = "080b4f4b";

fn register(daemon: &Daemon, socket: &Datagrams) {
    let (reply, _) = socket.ask(&hex(REGISTER), daemon.address(Transport::Udp));
    assert_eq!(reply, hex(OK));
}

/// A pseudorandom generator that yields the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[7]
    }
}

#[test]
fn a_command_that_is_a_number_ends_nothing() {
    let daemon = Daemon::start(&[]);
    let socket = Datagrams::bind("127.0.0.1:0".parse().unwrap());
    register(&daemon, &socket);
    socket.send(&hex(COMMAND_IS_A_NUMBER), daemon.address(Transport::Udp));
    assert_eq!(ask_tcp(&hex(COMMAND_IS_A_NUMBER), daemon.address(Transport::Tcp)), b"");
    let (reply, _) = socket.ask(&hex(QUERY), daemon.address(Transport::Udp));
    assert!(reply.len() > 1, "what was registered is still found");
    assert!(!ask_tcp(&hex(QUERY), daemon.address(Transport::Tcp)).is_empty());
    daemon.wait_for_log("the command is not text");
}

#[test]
fn random_and_mutated_datagrams_are_survived_and_real_ones_answered() {
    let daemon = Daemon::start(&[]);
    let to = daemon.address(Transport::Udp);
    let (hostile, honest) = (
        Datagrams::bind("127.0.0.1:0".parse().unwrap()),
        Datagrams::bind("127.0.0.1:0".parse().unwrap()),
    );
    register(&daemon, &honest);
    let seeds = [hex(REGISTER), hex(QUERY), hex(COMMAND_IS_A_NUMBER), b"{\"v\":1}".to_vec()];
    let mut numbers = Numbers(0x5eed);
    for round in 0..20_000 {
        let mut datagram = match round % 3 {
            0 => (0..numbers.below(200)).map(|_| numbers.byte()).collect(),
            _ => seeds[numbers.below(seeds.len())].clone(),
        };
        if round % 3 == 1 {
            let at = numbers.below(datagram.len());
            datagram[at] = numbers.byte();
        }
        if round % 3 == 2 {
            datagram.truncate(numbers.below(datagram.len() + 1));
        }
        hostile.send(&datagram, to);
        if round % 500 == 0 {
            // This check has a separate socket and accepts any endpoint, so registrations by the
            // hostile client do not matter.
            let (reply, _) = honest.ask(&hex(QUERY), to);
            assert!(reply.len() > 1, "round {round}");
        }
    }
}

#[test]
fn idle_and_slow_connections_hold_up_nobody() {
    let daemon = Daemon::start(&["--max-connections", "64"]);
    let to = daemon.address(Transport::Tcp);
    let connect = || TcpStream::connect(to).unwrap();
    // More connections than the daemon allows, so it must close those that were idle longest.
    let mut idle: Vec<_> = (0..200).map(|_| connect()).collect();
    let mut slow: Vec<_> = (0..32).map(|_| connect()).collect();
    let (request, started) = (hex(REGISTER), Instant::now());
    let (last, most) = request.split_last().unwrap();
    for byte in most {
        for stream in &mut slow {
            stream.write_all(&[*byte]).unwrap();
        }
        assert_eq!(ask_tcp(&request, to), hex(OK));
    }
    for stream in &mut slow {
        stream.write_all(&[*last]).unwrap();
        let mut reply = Vec::new();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.read_to_end(&mut reply).unwrap();
        assert_eq!(reply, hex(OK), "a slow writer is served");
    }
    idle[0].set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(matches!(idle[0].read(&mut [0]), Ok(0) | Err(_)), "the first was idle longest");
    assert!(started.elapsed() < PATIENCE);
}

#[test]
fn a_datagram_or_stream_beyond_every_limit_is_refused() {
    let daemon = Daemon::start(&[]);
    let socket = Datagrams::bind("127.0.0.1:0".parse().unwrap());
    socket.send(&vec![0x10; 60_000], daemon.address(Transport::Udp));
    register(&daemon, &socket);
    daemon.wait_for_log("longer than");
    // The daemon rejects a text of 4 GiB at its length field, before the text arrives.
    let mut stream = TcpStream::connect(daemon.address(Transport::Tcp)).unwrap();
    stream.write_all(b"\x12\x08\x0f\xff\xff\xff\xff").unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    assert!(socket.receive(Duration::from_millis(50)).is_none(), "refused without a word");
}
