//! A stream contains the same requests however it is divided.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rpyc_registry::{Frame, Framing, Refusal};

fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<Refusal>) {
    let mut framing = Framing::new();
    let mut frames = Vec::new();
    for piece in pieces {
        framing.buffer().extend(piece);
        loop {
            match framing.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(refusal) => return (frames, Some(refusal)),
            }
        }
    }
    frames.extend(framing.finish());
    (frames, None)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, stream) = input;
    let cut = frames(stream.chunks(usize::from(size).max(1)));
    assert_eq!(frames(std::iter::once(stream)), cut);
    assert_eq!(frames(stream.chunks(1)), cut);
});
