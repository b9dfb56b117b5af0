//! Values to bytes, in the shortest form, as Python writes them.

use super::{Int, Value, tag};

/// A length that brine cannot express.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{len} bytes or members are more than a 32-bit length can express")]
#[non_exhaustive]
pub struct EncodeError {
    /// The length.
    pub len: usize,
}

/// Appends values to a byte vector.
///
/// A container is written as its head, then its members one by one:
///
/// ```
/// use rpyc_protocol::brine::Writer;
///
/// let mut bytes = Vec::new();
/// Writer::new(&mut bytes).tuple(2)?.str("FOO")?.int(18861);
/// assert_eq!(bytes, b"\x11\x08\x0cFOO\x16\x0518861");
/// # Ok::<(), rpyc_protocol::brine::EncodeError>(())
/// ```
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Writes to the end of `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Writes `None`.
    pub fn none(&mut self) -> &mut Self {
        self.tag(tag::NONE)
    }

    /// Writes `True` or `False`.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.tag(if value { tag::TRUE } else { tag::FALSE })
    }

    /// Writes an integer.
    pub fn int(&mut self, value: i64) -> &mut Self {
        let immediate =
            value.checked_add(tag::IMMEDIATE_BIAS).and_then(|tag| u8::try_from(tag).ok());
        match immediate.filter(|tag| (tag::IMMEDIATE_FIRST..=tag::IMMEDIATE_LAST).contains(tag)) {
            Some(tag) => self.out.push(tag),
            None => {
                let text = value.to_string();
                // An i64 has at most 20 characters.
                self.out.extend([tag::INT_L1, u8::try_from(text.len()).unwrap_or(u8::MAX)]);
                self.out.extend(text.bytes());
            }
        }
        self
    }

    /// Writes a float.
    pub fn float(&mut self, value: f64) -> &mut Self {
        self.out.push(tag::FLOAT);
        self.out.extend(value.to_be_bytes());
        self
    }

    /// Writes a complex number.
    pub fn complex(&mut self, real: f64, imaginary: f64) -> &mut Self {
        self.out.push(tag::COMPLEX);
        self.out.extend(real.to_be_bytes());
        self.out.extend(imaginary.to_be_bytes());
        self
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// [`EncodeError`] if there are 4 GiB or more; nothing is written then.
    pub fn bytes(&mut self, value: &[u8]) -> Result<&mut Self, EncodeError> {
        match value.len() {
            0 => self.out.push(tag::EMPTY_BYTES),
            len => self.head(len, [tag::BYTES_1, tag::BYTES_L1, tag::BYTES_L4])?,
        }
        self.out.extend(value);
        Ok(self)
    }

    /// Writes text.
    ///
    /// # Errors
    /// [`EncodeError`] if it has 4 GiB or more.
    pub fn str(&mut self, value: &str) -> Result<&mut Self, EncodeError> {
        self.out.push(tag::STR);
        self.bytes(value.as_bytes())
    }

    /// Writes the head of a tuple; the caller writes `len` members after it.
    ///
    /// # Errors
    /// [`EncodeError`] if there are 2³² members or more; nothing is written then.
    pub fn tuple(&mut self, len: usize) -> Result<&mut Self, EncodeError> {
        match len {
            0 => self.out.push(tag::EMPTY_TUPLE),
            len => self.head(len, [tag::TUPLE_1, tag::TUPLE_L1, tag::TUPLE_L4])?,
        }
        Ok(self)
    }

    /// Writes a whole value.
    ///
    /// # Errors
    /// [`EncodeError`] if a length in it does not fit; part of it may have been written then.
    pub fn value(&mut self, value: &Value) -> Result<&mut Self, EncodeError> {
        match value {
            Value::None => self.none(),
            Value::Bool(value) => self.bool(*value),
            Value::NotImplemented => self.tag(tag::NOT_IMPLEMENTED),
            Value::Ellipsis => self.tag(tag::ELLIPSIS),
            Value::Int(value) => self.big_int(value)?,
            Value::Float(value) => self.float(*value),
            Value::Complex(real, imaginary) => self.complex(*real, *imaginary),
            Value::Bytes(value) => self.bytes(value)?,
            Value::Str(value) => self.str(value)?,
            Value::Tuple(members) => self.members(members)?,
            Value::FrozenSet(set) => self.tag(tag::FROZENSET).members(&set.0)?,
            Value::Slice(parts) => self.tag(tag::SLICE).members(&**parts)?,
        };
        Ok(self)
    }

    fn tag(&mut self, tag: u8) -> &mut Self {
        self.out.push(tag);
        self
    }

    fn members(&mut self, members: &[Value]) -> Result<&mut Self, EncodeError> {
        self.tuple(members.len())?;
        for member in members {
            self.value(member)?;
        }
        Ok(self)
    }

    fn big_int(&mut self, value: &Int) -> Result<&mut Self, EncodeError> {
        if let Some(small) = value.to_i64() {
            return Ok(self.int(small));
        }
        let text = value.to_string();
        match u8::try_from(text.len()) {
            Ok(len) => self.out.extend([tag::INT_L1, len]),
            Err(_) => {
                let len = len_u32(text.len())?;
                self.out.push(tag::INT_L4);
                self.out.extend(len);
            }
        }
        self.out.extend(text.bytes());
        Ok(self)
    }

    /// Writes the shortest head for a length that is not 0: one tag each for 1 to 4, else the tag
    /// for a length of one byte or of four.
    fn head(&mut self, len: usize, [one, short, long]: [u8; 3]) -> Result<(), EncodeError> {
        match u8::try_from(len) {
            Ok(len @ ..=4) => self.out.push(one + len - 1),
            Ok(len) => self.out.extend([short, len]),
            Err(_) => {
                let len = len_u32(len)?;
                self.out.push(long);
                self.out.extend(len);
            }
        }
        Ok(())
    }
}

fn len_u32(len: usize) -> Result<[u8; 4], EncodeError> {
    match u32::try_from(len) {
        Ok(fits) => Ok(fits.to_be_bytes()),
        Err(_) => Err(EncodeError { len }),
    }
}
