//! For any bytes of a peer, in any pieces, a session answers or ends.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use rpyc_protocol::rpc::{Boxed, Class, Config, Event, Exception, Request, Session};

/// Feeds a session; returns whether it ended.
fn talk<'a>(now: Instant, pieces: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut session = Session::new(now, Config::server());
    let mut out = Vec::new();
    for piece in pieces {
        session.handle_bytes(now, piece);
        while let Some(event) = session.poll_event() {
            if let Event::Request { id, request } = event {
                let answered = match request {
                    Request::Root => match session.export(&Class::new("fuzz.Root", 1)) {
                        Ok(root) => session.reply(id, &root.into()),
                        Err(_) => session.raise(id, &Exception::builtin("MemoryError", "full")),
                    },
                    Request::Object { .. } => {
                        session.discard_request(&request);
                        session.reply(id, &Boxed::NONE)
                    }
                };
                assert!(answered.is_ok());
            }
        }
        while session.poll_transmit(&mut out) {
            out.clear();
        }
    }
    let stats = session.stats();
    assert_eq!((stats.calls, stats.requests), (0, 0));
    assert!(stats.imports == 0 || !session.is_closed());
    session.is_closed()
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, stream) = input;
    let now = Instant::now();
    // Whether it ends depends only on the bytes.
    let whole = talk(now, std::iter::once(stream));
    let cut = talk(now, stream.chunks(usize::from(size).max(1)));
    // The answers may differ: a request may name an object that an answer in between has offered.
    assert_eq!(whole, cut);
});
