//! Any bytes decode or fail; a decoded value is stable, and all decoders agree where it ends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rpyc_protocol::Limits;
use rpyc_protocol::brine::{Extent, Tokens, decode, decode_prefix};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::DEFAULT;
    let Ok((value, len)) = decode_prefix(bytes, &limits) else { return };
    let again = value.to_bytes().expect("no length beyond 32 bits");
    assert_eq!(decode(&again, &limits).as_ref(), Ok(&value));
    assert_eq!(Extent::new(&limits).feed(bytes), Ok(Some(len)));
    let mut tokens = Tokens::new(bytes, &limits).expect("it was not too long before");
    tokens.skip(1).expect("it decoded");
    assert_eq!(tokens.offset(), len);
});
