//! Frames: cut streams, compression, and invalid frames.

use proptest::prelude::*;
use rpyc_protocol::rpc::{FrameDecoder, FrameError, PayloadTooLong, encode_frame};

use super::pair::{frame, unhex};

const LIMIT: usize = 1 << 20;

fn encode(payload: &[u8], compress_above: Option<usize>) -> Vec<u8> {
    let mut out = b"before".to_vec();
    encode_frame(&mut out, compress_above, LIMIT, |out| {
        out.extend(payload);
        Ok::<_, PayloadTooLong>(())
    })
    .unwrap();
    out.split_off(6)
}

/// All payloads in a stream that comes in pieces of these lengths.
fn payloads(
    stream: &[u8],
    mut piece_len: impl FnMut() -> usize,
) -> Result<Vec<Vec<u8>>, FrameError> {
    let mut decoder = FrameDecoder::new(LIMIT, LIMIT);
    let mut found = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let (mut piece, after) = rest.split_at(piece_len().clamp(1, rest.len()));
        rest = after;
        while let Some(payload) = decoder.next_payload(&mut piece)? {
            found.push(payload.to_vec());
        }
        assert!(piece.is_empty());
    }
    Ok(found)
}

fn whole(stream: &[u8]) -> Result<Vec<Vec<u8>>, FrameError> {
    payloads(stream, || usize::MAX)
}

#[test]
fn more_than_3000_bytes_are_compressed() {
    for (len, is_compressed) in [(1, 0), (3000, 0), (3001, 1), (100_000, 1)] {
        let payload = vec![b'x'; len];
        let bytes = encode(&payload, Some(3000));
        assert_eq!(bytes[4], is_compressed, "{len}");
        assert!(encode(&payload, None) == frame(&payload), "{len}");
        assert!(whole(&bytes).unwrap() == [payload], "{len}");
    }
}

#[test]
fn what_python_compressed_is_read() {
    // zlib.compress(bytes(4000), 1)
    let mut bytes = unhex(
        "00000029 01 7801edd03101000000c2a0f54f6d0c1f884061c0800103060c183060c0800103060cbc07060f\
         a00001 0a",
    );
    // Any value but 0 says that it is compressed.
    for compressed in [1, 0xff] {
        bytes[4] = compressed;
        assert!(whole(&bytes).unwrap() == [vec![0; 4000]]);
    }
}

#[test]
fn the_last_byte_is_passed_over_without_a_look() {
    assert_eq!(whole(b"\0\0\0\x01\0a?\0\0\0\x01\0b\0"), Ok(vec![b"a".to_vec(), b"b".to_vec()]));
}

#[test]
fn an_empty_frame_says_nothing() {
    let empty_stream = unhex("00000008 01 7801 0300 00000001 0a");
    let stream = [&frame(b"")[..], &frame(b"a"), &empty_stream, &frame(b""), &frame(b"b")].concat();
    let expected = Ok(vec![b"a".to_vec(), b"b".to_vec()]);
    assert_eq!(whole(&stream), expected);
    assert_eq!(payloads(&stream, || 1), expected);
}

#[test]
fn a_length_over_the_limit_is_refused_at_the_header() {
    let mut decoder = FrameDecoder::new(10, 8);
    let mut next = |header: &[u8]| decoder.next_payload(&mut &header[..]).map(|_| ());
    let too_long = |len, limit| Err(FrameError::TooLong { len, limit });
    assert_eq!(next(b"\0\0\0\x09\0"), too_long(9, 8));
    assert_eq!(next(b"\0\0\0\x0b\x01"), too_long(11, 10));
    assert_eq!(next(b"\xff\xff\xff\xff\0"), too_long(u32::MAX, 8));
    assert_eq!(next(b"GET / HTTP/1.1\r\n\r\n"), too_long(0x4745_5420, 10));
    assert_eq!(next(b"\0\0\0\x08\0"), Ok(()));
}

#[test]
fn an_announced_length_costs_nothing_until_the_bytes_come() {
    let mut decoder = FrameDecoder::new(usize::MAX, usize::MAX);
    for _ in 0..3 {
        assert_eq!(decoder.next_payload(&mut &b"\xff"[..]), Ok(None));
        assert!(decoder.is_partial());
    }
    // Were 4 GiB put aside for this, the test would show it in its size or its time.
    assert_eq!(decoder.next_payload(&mut &b"\xff\0and"[..]), Ok(None));
    assert!(decoder.is_partial());
}

#[test]
fn bad_compression_is_refused() {
    let zlib = |hex: &str| {
        let stream = unhex(hex);
        let mut bytes = frame(&stream);
        bytes[4] = 1;
        whole(&bytes)
    };
    for hex in ["", "00", "7801", "78010300000000", "7801 0300 00000001 00", "ffffffff"] {
        assert_eq!(zlib(hex), Err(FrameError::BadZlib), "{hex}");
    }
}

#[test]
fn a_bomb_is_refused_at_the_limit() {
    let frame_of = |len: usize| {
        let mut out = Vec::new();
        encode_frame(&mut out, Some(0), usize::MAX, |out| {
            out.resize(out.len() + len, 0);
            Ok::<_, PayloadTooLong>(())
        })
        .unwrap();
        out
    };
    assert!(whole(&frame_of(LIMIT)).unwrap() == [vec![0; LIMIT]]);
    let bomb = frame_of(64 << 20);
    assert!(bomb.len() < LIMIT);
    for bytes in [frame_of(LIMIT + 1), bomb] {
        assert_eq!(whole(&bytes), Err(FrameError::InflatedTooLong { limit: LIMIT }));
    }
}

#[test]
fn what_cannot_be_sent_leaves_nothing_behind() {
    let mut out = b"before".to_vec();
    let result = encode_frame(&mut out, None, 3, |out| {
        out.extend(b"four");
        Ok::<_, PayloadTooLong>(())
    });
    let error = result.unwrap_err();
    assert_eq!((error.len, error.limit), (4, 3));
    assert_eq!(out, b"before");
}

proptest! {
    #[test]
    fn the_pieces_do_not_matter(
        contents in prop::collection::vec((any::<u8>(), 0usize..6000, any::<bool>()), 0..8),
        lens in prop::collection::vec(1usize..3000, 1..20),
    ) {
        let contents: Vec<(Vec<u8>, bool)> =
            contents.into_iter().map(|(byte, len, zip)| (vec![byte; len], zip)).collect();
        let stream: Vec<u8> = contents
            .iter()
            .flat_map(|(payload, zip)| encode(payload, zip.then_some(100)))
            .collect();
        let expected: Vec<_> =
            contents.into_iter().map(|(payload, _)| payload).filter(|p| !p.is_empty()).collect();
        let mut lens = lens.into_iter().cycle();
        prop_assert_eq!(payloads(&stream, || lens.next().unwrap()), Ok(expected.clone()));
        prop_assert_eq!(payloads(&stream, || 1), Ok(expected.clone()));
        prop_assert_eq!(whole(&stream), Ok(expected));
    }

    #[test]
    fn any_bytes_are_frames_or_an_error_whatever_the_pieces(
        bytes in prop::collection::vec(prop_oneof![Just(0u8), 0u8..9, any::<u8>()], 0..200),
        len in 1usize..20,
    ) {
        // An error comes with the same bytes at the latest; it may come sooner than the pieces end.
        prop_assert_eq!(whole(&bytes), payloads(&bytes, || len));
    }
}
