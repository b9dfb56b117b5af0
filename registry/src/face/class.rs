//! The kinds of requests, guessed without decoding them.

use rpyc_protocol::registry::native::is_native;

/// The kind of a request, in the order in which requests are served under load.
///
/// It is a guess from the first bytes. It decides when or whether a request is served, never its
/// meaning. A request that fakes its kind only gains a later position or earlier shedding, or
/// counts as a change, and changes have their own limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::face) enum Class {
    /// Renewals, registrations and all other changes of the table. Only the table can distinguish
    /// them.
    Change,
    /// A query of the servers of a name.
    Resolve,
    /// A list of all names or instances, or a status.
    List,
}

impl Class {
    pub(in crate::face) const IN_ORDER: [Self; 3] = [Self::Change, Self::Resolve, Self::List];

    pub(in crate::face) fn of(message: &[u8]) -> Self {
        match message.first() {
            Some(&first) if is_native(first) => Self::of_native(message),
            _ => Self::of_legacy(message),
        }
    }

    /// `("RPYC", COMMAND, arguments)`: a few bytes of tags and lengths precede each text, and none
    /// of them is a letter.
    fn of_legacy(message: &[u8]) -> Self {
        const MAGIC: &[u8] = b"RPYC";
        /// The bytes in which the texts must begin: room for tags with lengths of four bytes.
        const HEAD: usize = 24;
        let head = message.get(..HEAD).unwrap_or(message);
        let magic = head.windows(MAGIC.len()).position(|window| window == MAGIC);
        let rest = magic.and_then(|at| head.get(at + MAGIC.len()..)).unwrap_or_default();
        match rest.iter().find(|byte| byte.is_ascii_alphabetic()) {
            Some(b'R' | b'r' | b'U' | b'u') => Self::Change,
            Some(b'L' | b'l') => Self::List,
            _ => Self::Resolve,
        }
    }

    /// `{"v":1,"op":"renew",...}`, with the members in any order.
    fn of_native(message: &[u8]) -> Self {
        const KEY: &[u8] = b"\"op\"";
        /// The bytes that are searched for the operation.
        const HEAD: usize = 256;
        let head = message.get(..HEAD).unwrap_or(message);
        let key = head.windows(KEY.len()).position(|window| window == KEY);
        let rest = key.and_then(|at| head.get(at + KEY.len()..)).unwrap_or_default();
        let letters = |byte: &u8| byte.is_ascii_alphabetic();
        let from = rest.iter().position(letters).and_then(|at| rest.get(at..)).unwrap_or_default();
        let word = from.iter().position(|byte| !letters(byte)).and_then(|end| from.get(..end));
        match word {
            Some(
                b"renew" | b"register" | b"deregister" | b"update" | b"drain" | b"undrain"
                | b"release",
            ) => Self::Change,
            Some(b"list" | b"describe" | b"status") => Self::List,
            _ => Self::Resolve,
        }
    }
}

/// Whether serving this request takes a few microseconds only. A native request that reads, or may
/// read, many instances is not; neither is one whose kind is not certain.
pub(in crate::face) fn is_light(message: &[u8]) -> bool {
    const KEY: &[u8] = b"\"op\"";
    let is_certain = || {
        let keys = message.windows(KEY.len()).filter(|window| *window == KEY).count();
        keys == 1 && !message.contains(&b'\\')
    };
    match message.first() {
        Some(&first) if is_native(first) => Class::of(message) == Class::Change && is_certain(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use rpyc_protocol::registry::{Names, Port, Request};
    use rpyc_protocol::{ServiceName, brine::Writer};

    use super::*;

    fn encoded(request: &Request<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        request.encode(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn legacy_requests_are_told_apart() {
        let names = ["LIST", "QUERY"].map(|name| ServiceName::new(name).unwrap());
        let (names, port) = (Names::from(&names[..]), Port::tcp(1).unwrap());
        let check = |request: Request<'_>, class| assert_eq!(Class::of(&encoded(&request)), class);
        check(Request::Register { names, port: port.clone() }, Class::Change);
        check(Request::Unregister { port }, Class::Change);
        check(Request::Query { name: "list" }, Class::Resolve);
        check(Request::List { host: None }, Class::List);
        check(Request::List { host: Some("10.0.0.1") }, Class::List);
    }

    #[test]
    fn commands_may_be_written_in_any_case() {
        for (word, class) in
            [("register", Class::Change), ("Query", Class::Resolve), ("list", Class::List)]
        {
            let mut bytes = Vec::new();
            let mut writer = Writer::new(&mut bytes);
            writer.tuple(3).unwrap().str("RPYC").unwrap().str(word).unwrap().tuple(0).unwrap();
            assert_eq!(Class::of(&bytes), class, "{word}");
        }
    }

    #[test]
    fn native_requests_are_told_apart() {
        let check = |text: &str, class| assert_eq!(Class::of(text.as_bytes()), class, "{text}");
        check(r#"{"v":1,"op":"renew","lease":"7"}"#, Class::Change);
        check(r#"{ "names" : ["list"], "op" : "register" }"#, Class::Change);
        check(r#"{"op":"resolve","name":"list"}"#, Class::Resolve);
        check(r#"{"op":"status"}"#, Class::List);
        check(r#"{"op":"list"}"#, Class::List);
        check(r#"{"op":"listen"}"#, Class::Resolve);
        check(r#"{"op":"list"#, Class::Resolve);
        check(r#"{"v":1}"#, Class::Resolve);
    }

    #[test]
    fn what_is_no_request_is_some_class() {
        for bytes in [&b""[..], b"R", b"RPYC", b"\x12\x08\x0dRPYC", b"{", &[0xff; 64]] {
            assert_eq!(Class::of(bytes), Class::Resolve);
        }
    }
    #[test]
    fn a_request_that_may_read_much_is_not_light() {
        for (request, expected) in [
            (r#"{"v":1,"op":"renew","lease":"7"}"#, true),
            (r#"{"v":1,"op":"register","names":["a"],"port":1}"#, true),
            (r#"{"v":1,"op":"resolve","name":"a"}"#, false),
            (r#"{"v":1,"op":"list"}"#, false),
            (r#"{"tags":["op","renew"],"op":"list"}"#, false),
            (r#"{"tags":["op","renew"],"\u006fp":"list"}"#, false),
        ] {
            assert_eq!(is_light(request.as_bytes()), expected, "{request}");
        }
        assert!(is_light(&encoded(&Request::Query { name: "a" })));
    }
}
