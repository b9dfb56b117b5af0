//! Zlib in both directions, bounded.
//!
//! The state of a compressor is a third of a megabyte. It is kept once for each thread, not once
//! for each connection: it holds nothing between two calls.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The level that RPyC uses: fast.
const LEVEL: u32 = 1;

/// A payload from this length on is compressed only if a sample of it shrinks.
const SAMPLED_FROM: usize = 64 << 10;
const SAMPLE: usize = 4 << 10;

/// A scratch buffer that grew beyond this is not kept.
const KEPT: usize = 256 << 10;

struct Deflater {
    state: Compress,
    scratch: Vec<u8>,
}

thread_local! {
    static DEFLATER: RefCell<Deflater> = RefCell::new(Deflater {
        state: Compress::new(Compression::new(LEVEL), true),
        scratch: Vec::new(),
    });
    static INFLATER: RefCell<Decompress> = RefCell::new(Decompress::new(true));
}

/// Replaces `out[start..]` by its compressed form if that is shorter; returns whether it is.
pub(super) fn deflate_tail(out: &mut Vec<u8>, start: usize) -> bool {
    DEFLATER.with_borrow_mut(|deflater| {
        let plain = out.get(start..).unwrap_or_default();
        if plain.len() >= SAMPLED_FROM {
            // Data whose middle does not shrink (pictures, archives) costs 3 ms a megabyte to try.
            let middle = plain.len() / 2;
            let sample = plain.get(middle..middle + SAMPLE).unwrap_or_default();
            if !deflater.shrinks(sample) {
                return false;
            }
        }
        let shrunk = deflater.shrinks(plain);
        if shrunk {
            out.truncate(start);
            out.extend_from_slice(&deflater.scratch);
        }
        if deflater.scratch.capacity() > KEPT {
            deflater.scratch = Vec::new();
        }
        shrunk
    })
}

impl Deflater {
    /// Compresses into the scratch buffer; stops when the result is not shorter.
    fn shrinks(&mut self, plain: &[u8]) -> bool {
        self.state.reset();
        self.scratch.clear();
        self.scratch.reserve(plain.len());
        let done = self.state.compress_vec(plain, &mut self.scratch, FlushCompress::Finish);
        matches!(done, Ok(Status::StreamEnd)) && self.scratch.len() < plain.len()
    }
}

/// Why bytes could not be inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InflateError {
    /// Not one whole zlib stream and nothing else.
    Malformed,
    /// More bytes than the limit come out.
    TooLong,
}

/// Inflates one whole zlib stream into `out`, which is emptied first.
///
/// Memory follows what really comes out and never exceeds the limit by more than a byte.
pub(super) fn inflate(
    compressed: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), InflateError> {
    let room = limit.saturating_add(1);
    let mut rest = compressed;
    out.clear();
    INFLATER.with_borrow_mut(|state| {
        state.reset(true);
        loop {
            if out.len() == out.capacity() {
                let wanted = out.capacity().max(compressed.len()).max(1024).saturating_mul(2);
                out.reserve_exact(wanted.min(room).saturating_sub(out.len()));
            }
            let (read, written) = (state.total_in(), out.len());
            let Ok(status) = state.decompress_vec(rest, out, FlushDecompress::None) else {
                return Err(InflateError::Malformed);
            };
            let read = usize::try_from(state.total_in() - read).unwrap_or(usize::MAX);
            rest = rest.get(read..).unwrap_or_default();
            if out.len() > limit {
                return Err(InflateError::TooLong);
            }
            match status {
                Status::StreamEnd if rest.is_empty() => return Ok(()),
                Status::StreamEnd => return Err(InflateError::Malformed),
                // Nothing went in or out although there was room for it: the stream is cut.
                Status::Ok | Status::BufError if read == 0 && out.len() == written => {
                    return Err(InflateError::Malformed);
                }
                Status::Ok | Status::BufError => {}
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deflate(plain: &[u8]) -> Vec<u8> {
        let mut out = plain.to_vec();
        assert!(deflate_tail(&mut out, 0));
        out
    }

    #[test]
    fn what_is_deflated_inflates() {
        for len in [64, 3000, 100_000, 5 << 20] {
            let plain: Vec<u8> = b"some text, ".iter().copied().cycle().take(len).collect();
            let mut out = vec![7; 9];
            assert_eq!(inflate(&deflate(&plain), len, &mut out), Ok(()));
            assert_eq!(out, plain);
        }
    }

    #[test]
    fn the_limit_holds_at_its_edge() {
        let bomb = deflate(&vec![0; 1 << 20]);
        let mut out = Vec::new();
        assert_eq!(inflate(&bomb, 1 << 20, &mut out), Ok(()));
        let mut out = Vec::new();
        assert_eq!(inflate(&bomb, (1 << 20) - 1, &mut out), Err(InflateError::TooLong));
        assert!(out.capacity() <= 1 << 20);
        assert_eq!(inflate(&bomb, 0, &mut Vec::new()), Err(InflateError::TooLong));
    }

    #[test]
    fn only_one_whole_stream_is_accepted() {
        let whole = deflate(&[b'x'; 500]);
        let mut out = Vec::new();
        for cut in 0..whole.len() {
            assert_eq!(inflate(&whole[..cut], 500, &mut out), Err(InflateError::Malformed));
        }
        let trailing = [&whole[..], b"!"].concat();
        assert_eq!(inflate(&trailing, 500, &mut out), Err(InflateError::Malformed));
        let mut corrupt = whole.clone();
        *corrupt.last_mut().unwrap() ^= 1;
        assert_eq!(inflate(&corrupt, 500, &mut out), Err(InflateError::Malformed));
        assert_eq!(inflate(&whole, 500, &mut out), Ok(()));
    }

    #[test]
    fn what_does_not_shrink_stays_as_it_is() {
        let mut state = 1u64;
        let mut noise = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[0]
        };
        for len in [4000, 100_000] {
            let plain: Vec<u8> = (0..len).map(|_| noise()).collect();
            let mut out = plain.clone();
            assert!(!deflate_tail(&mut out, 0));
            assert_eq!(out, plain);
        }
    }
}
