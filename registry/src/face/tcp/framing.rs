//! Splits a stream of bytes into requests, wherever the reads cut it.

use rpyc_protocol::Limits;
use rpyc_protocol::brine::Extent;
use rpyc_protocol::registry::native;

use crate::limits::MAX_REQUEST;
use crate::refusal::Refusal;

/// Collects the bytes of one connection into requests.
///
/// Each byte is examined once, so a client that sends single bytes costs no more than another.
/// Pure: the requests do not depend on the reads.
#[derive(Debug)]
pub struct Framing {
    received: Vec<u8>,
    /// The number of bytes already searched for the end of the current request.
    looked_at: usize,
    extent: Extent,
}

/// The bytes of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are two faces on this port")]
pub enum Frame {
    /// A brine value. RPyC sends one a connection.
    Legacy(Vec<u8>),
    /// A line of JSON without its line end. Another may follow.
    Native(Vec<u8>),
}

impl Framing {
    /// Waits for the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self { received: Vec::new(), looked_at: 0, extent: Extent::new(&Limits::REQUEST) }
    }

    /// The buffer to append received bytes to.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.received
    }

    /// Whether a request has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !self.received.is_empty()
    }

    /// Takes the next whole request, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`Refusal`] as soon as the bytes cannot become a request. The sender is at fault, and no
    /// later byte can be understood.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Refusal> {
        match self.received.first() {
            None => Ok(None),
            Some(&first) if native::is_native(first) => self.next_line(),
            Some(_) => self.next_value(),
        }
    }

    /// Takes the request that the end of the stream completes: a last line may lack its line end.
    #[must_use]
    pub fn finish(mut self) -> Option<Frame> {
        match self.received.first() {
            Some(&first) if native::is_native(first) => {
                Some(Frame::Native(self.take(self.received.len())))
            }
            _ => None,
        }
    }

    fn next_line(&mut self) -> Result<Option<Frame>, Refusal> {
        let fresh = self.received.get(self.looked_at..).unwrap_or_default();
        let end = fresh.iter().position(|byte| *byte == b'\n').map(|at| self.looked_at + at);
        self.looked_at = self.received.len();
        if end.unwrap_or(self.looked_at) > MAX_REQUEST {
            return Err(Refusal::TooLong { limit: MAX_REQUEST });
        }
        Ok(end.map(|end| {
            let mut line = self.take(end + 1);
            line.pop();
            Frame::Native(line)
        }))
    }

    fn next_value(&mut self) -> Result<Option<Frame>, Refusal> {
        let fresh = self.received.get(self.looked_at..).unwrap_or_default();
        let end = self.extent.feed(fresh).map_err(|error| Refusal::Request(error.into()))?;
        self.looked_at = self.received.len();
        Ok(end.map(|end| Frame::Legacy(self.take(end))))
    }

    /// Takes the first `len` bytes and restarts after them.
    fn take(&mut self, len: usize) -> Vec<u8> {
        let rest = self.received.split_off(len);
        self.looked_at = 0;
        self.extent = Extent::new(&Limits::REQUEST);
        std::mem::replace(&mut self.received, rest)
    }
}

impl Default for Framing {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(pieces: &[&[u8]]) -> Result<Vec<Frame>, Refusal> {
        let mut framing = Framing::new();
        let mut frames = Vec::new();
        for piece in pieces {
            framing.buffer().extend(*piece);
            while let Some(frame) = framing.next_frame()? {
                frames.push(frame);
            }
        }
        frames.extend(framing.finish());
        Ok(frames)
    }

    #[test]
    fn cuts_do_not_matter() {
        let native = |text: &str| Frame::Native(text.as_bytes().to_vec());
        let expected =
            vec![native("{a}"), Frame::Legacy(b"\x11\x50\x08\x0c123".to_vec()), native("{b")];
        let stream = b"{a}\n\x11\x50\x08\x0c123{b";
        for cut in 0..stream.len() {
            let (before, after) = stream.split_at(cut);
            assert_eq!(frames(&[before, after]).as_ref(), Ok(&expected), "cut at {cut}");
        }
        let single: Vec<_> = stream.chunks(1).collect();
        assert_eq!(frames(&single), Ok(expected));
    }

    #[test]
    fn a_line_is_too_long_at_the_byte_after_its_limit() {
        let line = [b"{".repeat(MAX_REQUEST), b"\n".to_vec()].concat();
        assert_eq!(frames(&[&line]).unwrap().len(), 1);
        assert!(frames(&[b"{", &line]).is_err());
        assert!(frames(&[&b"{".repeat(MAX_REQUEST + 1)]).is_err(), "not kept until its end");
    }

    #[test]
    fn what_is_no_value_is_refused_at_once() {
        assert!(frames(&[b"G"]).is_ok(), "the number -9, as brine goes");
        assert!(frames(&[b"\xff"]).is_err());
        assert!(frames(&[b"\x0f\x7f"]).is_ok_and(|frames| frames.is_empty()), "it may still come");
        assert!(frames(&[b"\x0f\x7f\xff\xff\xff"]).is_err(), "too long to come");
    }
}
