//! A bounds-checked cursor over bytes.

/// Hands out parts of a byte slice from front to back and knows how far it got.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    start_len: usize,
}

/// The slice ended before the bytes asked for.
#[derive(Debug)]
pub(crate) struct Exhausted;

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, start_len: bytes.len() }
    }

    /// Bytes taken so far.
    pub(crate) fn offset(&self) -> usize {
        self.start_len - self.rest.len()
    }

    /// Bytes left.
    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Exhausted> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Exhausted> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Exhausted)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Exhausted> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Exhausted)?;
        self.rest = rest;
        Ok(head)
    }
}
