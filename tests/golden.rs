//! The exact bytes that RPyC sends and expects in reply.
//!
//! RPyC's own registry goes through the same conversations, which proves that the bytes are RPyC's.

use std::net::{Ipv4Addr, SocketAddr};

use rpyc_tests::raw::{Datagrams, ask_tcp, hex, to_hex};
use rpyc_tests::{Control, Daemon, Registry, Settings, Transport};

pub(crate) const REGISTER_FOO: &str =
    "12080d52505943080e0852454749535445521110080c464f4f16053138383631";
const REGISTER_FOO_SECOND: &str = "12080d52505943080e0852454749535445521110080c464f4f160431323334";
const REGISTER_FOO_BAR: &str =
    "12080d52505943080e0852454749535445521111080c464f4f080c42415216053138383631";
const REGISTER_SOCKET: &str =
    "12080d52505943080e0852454749535445521110080e07554e4958535643080e0b2f72756e2f782e736f636b";
const REGISTER_STRASSE: &str =
    "12080d52505943080e0852454749535445521110080e0773747261c39f6516053138383631";
const UNREGISTER: &str = "12080d52505943080e0a554e52454749535445521016053138383631";
const UNREGISTER_SOCKET: &str =
    "12080d52505943080e0a554e524547495354455210080e0b2f72756e2f782e736f636b";
pub(crate) const QUERY_FOO: &str = "12080d52505943080e05515545525910080c666f6f";
const QUERY_FOO_IN_LOWERCASE: &str = "12080d52505943080e05717565727910080c464f4f";
const QUERY_SOCKET: &str = "12080d52505943080e05515545525910080e07756e6978737663";
const QUERY_STRASSE: &str = "12080d52505943080e05515545525910080e0753545241535345";
const QUERY_UNKNOWN: &str = "12080d52505943080e05515545525910080e066e6f73756368";
const LIST: &str = "12080d52505943080d4c495354101000";
const LIST_LOOPBACK: &str = "12080d52505943080d4c4953541010080e093132372e302e302e31";
const LIST_ELSEWHERE: &str = "12080d52505943080d4c4953541010080e0831302e302e302e31";

pub(crate) const OK: &str = "080b4f4b";
const NONE: &str = "00";
pub(crate) const EMPTY: &str = "02";
const FOO: &str = "10080c464f4f";
const FOO_BAR: &str = "11080c464f4f080c424152";
const BAR_FOO: &str = "11080c424152080c464f4f";
const STRASSE: &str = "10080e0753545241535345";
pub(crate) const SERVER: &str = "1011080e093132372e302e302e3116053138383631";
const SECOND_SERVER: &str = "1011080e093132372e302e302e31160431323334";
const BOTH_SERVERS: &str =
    "1111080e093132372e302e302e311605313838363111080e093132372e302e302e31160431323334";
const BOTH_SERVERS_TURNED: &str =
    "1111080e093132372e302e302e3116043132333411080e093132372e302e302e3116053138383631";
const SOCKET_SERVER: &str = "1011080e093132372e302e302e31080e0b2f72756e2f782e736f636b";

/// A request and its correct replies: more than one where the registry may choose the order.
type Exchange = (&'static str, &'static [&'static str]);

const A_SERVER_COMES_AND_GOES: &[Exchange] = &[
    (QUERY_FOO, &[EMPTY]),
    (REGISTER_FOO, &[OK]),
    (QUERY_FOO, &[SERVER]),
    (QUERY_FOO_IN_LOWERCASE, &[SERVER]),
    (QUERY_UNKNOWN, &[EMPTY]),
    (REGISTER_FOO, &[OK]),
    (QUERY_FOO, &[SERVER]),
    (UNREGISTER, &[OK]),
    (QUERY_FOO, &[EMPTY]),
    (UNREGISTER, &[OK]),
];

const TWO_SERVERS_SHARE_A_NAME: &[Exchange] = &[
    (REGISTER_FOO, &[OK]),
    (REGISTER_FOO_SECOND, &[OK]),
    (QUERY_FOO, &[BOTH_SERVERS, BOTH_SERVERS_TURNED]),
    (UNREGISTER, &[OK]),
    (QUERY_FOO, &[SECOND_SERVER]),
];

const NAMES_ARE_LISTED: &[Exchange] = &[
    (LIST, &[EMPTY]),
    (REGISTER_FOO, &[OK]),
    (LIST, &[FOO]),
    (LIST_LOOPBACK, &[FOO]),
    (LIST_ELSEWHERE, &[EMPTY]),
    (REGISTER_FOO_BAR, &[OK]),
    (LIST, &[FOO_BAR, BAR_FOO]),
    (UNREGISTER, &[OK]),
    (LIST, &[EMPTY]),
    (LIST_LOOPBACK, &[EMPTY]),
];

const A_SOCKET_PATH_IS_A_PORT: &[Exchange] = &[
    (REGISTER_SOCKET, &[OK]),
    (QUERY_SOCKET, &[SOCKET_SERVER]),
    (UNREGISTER_SOCKET, &[OK]),
    (QUERY_SOCKET, &[EMPTY]),
];

const LETTERS_ARE_FOLDED: &[Exchange] =
    &[(REGISTER_STRASSE, &[OK]), (QUERY_STRASSE, &[SERVER]), (LIST, &[STRASSE])];

const LISTING_IS_FORBIDDEN: &[Exchange] =
    &[(LIST, &[NONE]), (REGISTER_FOO, &[OK]), (LIST, &[NONE]), (LIST_LOOPBACK, &[NONE])];

/// Plays each conversation with a new registry.
fn converse<R: Registry>(transport: Transport) {
    let open = Settings::default().listing();
    let closed = Settings::default();
    for (settings, conversation) in [
        (open, A_SERVER_COMES_AND_GOES),
        (open, TWO_SERVERS_SHARE_A_NAME),
        (open, NAMES_ARE_LISTED),
        (open, A_SOCKET_PATH_IS_A_PORT),
        (open, LETTERS_ARE_FOLDED),
        (closed, LISTING_IS_FORBIDDEN),
    ] {
        let registry = R::start(settings);
        for (n, (request, expected)) in conversation.iter().enumerate() {
            let reply = ask(transport, registry.address(transport), &hex(request));
            assert!(expected.contains(&&*to_hex(&reply)), "{n}: {request} got {}", to_hex(&reply));
        }
    }
}

fn ask(transport: Transport, registry: SocketAddr, request: &[u8]) -> Vec<u8> {
    match transport {
        Transport::Tcp => ask_tcp(request, registry),
        Transport::Udp => {
            let socket = Datagrams::bind((Ipv4Addr::LOCALHOST, 0).into());
            let (reply, source) = socket.ask(request, registry);
            assert_eq!(source, registry, "the reply leaves from the address asked");
            reply
        }
    }
}

#[test]
fn udp_replies_are_rpycs_to_the_byte() {
    converse::<Daemon>(Transport::Udp);
}

#[test]
fn tcp_replies_are_rpycs_to_the_byte() {
    converse::<Daemon>(Transport::Tcp);
}

#[test]
fn rpycs_own_registry_gives_these_bytes_over_udp() {
    converse::<Control>(Transport::Udp);
}

#[test]
fn rpycs_own_registry_gives_these_bytes_over_tcp() {
    converse::<Control>(Transport::Tcp);
}
