//! From the members of a tuple to the fields of a struct, by position.

use std::fmt;
use std::vec::IntoIter;

use serde::de::{self, DeserializeSeed, SeqAccess, Visitor};

use super::ConvertError;
use super::de::Node;

/// The members of a tuple, taken for fields one after another.
///
/// serde gives each field that it finds no member for its default. That would be wrong where the
/// sender left out a field before the last: all fields after it would be taken for their
/// neighbours. So a tuple that is too short is refused, and `None` stands for a field that was
/// skipped.
struct Fields {
    members: IntoIter<Node>,
    taken: usize,
    /// Whether there were more fields than members.
    is_short: bool,
    /// Why `None` is not a value of the last field.
    left_out: Option<ConvertError>,
}

/// Gives `visitor` the members as the fields of `owner`, which is named in errors.
pub(super) fn visit<'de, V: Visitor<'de>>(
    members: Vec<Node>,
    owner: &dyn fmt::Display,
    visitor: V,
) -> Result<V::Value, ConvertError> {
    let len = members.len();
    let mut fields =
        Fields { members: members.into_iter(), taken: 0, is_short: false, left_out: None };
    let visited = visitor.visit_seq(&mut fields);
    let value = visited.map_err(|error| fields.left_out.take().unwrap_or(error))?;
    // No members at all are the pairs of a struct that has its defaults; nothing is out of place.
    if fields.is_short && len > 0 {
        return Err(ConvertError::new(format!(
            "a tuple of {len} has too few members for {owner}; None stands for a field without value"
        )));
    }
    if fields.members.len() > 0 {
        return Err(de::Error::invalid_length(len, &Exactly(fields.taken)));
    }
    Ok(value)
}

impl<'de> SeqAccess<'de> for &mut Fields {
    type Error = ConvertError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ConvertError> {
        self.left_out = None;
        let Some(member) = self.members.next() else {
            self.is_short = true;
            return Ok(None);
        };
        self.taken += 1;
        let is_none = member.is_none();
        match seed.deserialize(member) {
            // The field has its default, or serde refuses the struct.
            Err(error) if is_none => {
                self.left_out = Some(error);
                Ok(None)
            }
            taken => taken.map(Some),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.members.len())
    }
}

/// So many members, and no more.
struct Exactly(usize);

impl de::Expected for Exactly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} elements in sequence", self.0)
    }
}
