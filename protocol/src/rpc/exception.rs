//! Exceptions as they travel: data, never a class to import or a call to make.
//!
//! ```text
//! ((module, name), arguments, ((attribute, value), ...), traceback)
//! 1                                    StopIteration, whatever its arguments
//! "text"                               a string exception of old; read, never sent
//! ```
//!
//! The sender replaces anything that cannot be sent by value by its `repr`; so nothing here is
//! boxed. The last attribute is `_remote_version`, the sender's version of RPyC. See
//! `docs/wire.md`, *Exceptions*.

use std::borrow::Cow;
use std::fmt;

use super::cursor::Cursor;
use super::refusal::{ReadError, Refusal};
use crate::Limits;
use crate::brine::{EncodeError, Value, Writer};

const BUILTINS: &str = "builtins";
const STOP_ITERATION: &str = "StopIteration";
const STOP_ITERATION_CODE: i64 = 1;
const REMOTE_VERSION: &str = "_remote_version";
const VERSION_DENIED: &str = "<version denied>";
const TRACEBACK_DENIED: &str = "<traceback denied>";

/// An exception that one side raised, as the other receives it.
///
/// A Python peer raises the builtin of that name if the module is `builtins`, and else a
/// `GenericException` that carries the name. Avoid `EOFError`: rpyc takes it for a lost connection.
///
/// ```
/// use rpyc_protocol::rpc::Exception;
///
/// let exception = Exception::builtin("ValueError", "no such employee");
/// assert_eq!(exception.to_string(), "ValueError: no such employee");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exception {
    /// The module of its class.
    pub module: Cow<'static, str>,
    /// The name of its class.
    pub name: Cow<'static, str>,
    /// Its arguments.
    pub args: Vec<Value>,
    /// Its other attributes, in the order of the wire.
    pub attributes: Vec<(Cow<'static, str>, Value)>,
    /// The text of the traceback, unless the sender keeps it to itself.
    pub traceback: Option<String>,
}

impl Exception {
    /// An exception by module, name and arguments.
    #[must_use]
    pub fn new(
        module: impl Into<Cow<'static, str>>,
        name: impl Into<Cow<'static, str>>,
        args: Vec<Value>,
    ) -> Self {
        Self {
            module: module.into(),
            name: name.into(),
            args,
            attributes: Vec::new(),
            traceback: None,
        }
    }

    /// One of Python's own exceptions with one argument, usually its message.
    ///
    /// It has the attributes that Python's constructor would give it, as Python's receivers make
    /// exceptions without their constructors.
    #[must_use]
    pub fn builtin(name: impl Into<Cow<'static, str>>, message: impl Into<Value>) -> Self {
        let (name, message) = (name.into(), message.into());
        let (of_message, without): (&[&'static str], &[&'static str]) = match &*name {
            "AttributeError" => (&[], &["name", "obj"]),
            "ImportError" | "ModuleNotFoundError" => (&["msg"], &["name", "path"]),
            "IndentationError" | "SyntaxError" | "TabError" => {
                (&["msg"], &["filename", "lineno", "offset", "text"])
            }
            "NameError" | "UnboundLocalError" => (&[], &["name"]),
            "StopIteration" => (&["value"], &[]),
            "SystemExit" => (&["code"], &[]),
            _ => (&[], &[]),
        };
        let of_message = of_message.iter().map(|&name| (Cow::Borrowed(name), message.clone()));
        let without = without.iter().map(|&name| (Cow::Borrowed(name), Value::None));
        let attributes = of_message.chain(without).collect();
        Self { attributes, ..Self::new(BUILTINS, name, vec![message]) }
    }

    /// The end of an iterator.
    #[must_use]
    pub fn stop_iteration() -> Self {
        Self::new(BUILTINS, STOP_ITERATION, Vec::new())
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with_attribute(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Value>,
    ) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// Sets the text of the traceback.
    #[must_use]
    pub fn with_traceback(mut self, text: impl Into<String>) -> Self {
        self.traceback = Some(text.into());
        self
    }

    /// Whether it is the one of Python's own exceptions that has this name.
    #[must_use]
    pub fn is_builtin(&self, name: &str) -> bool {
        self.module == BUILTINS && self.name == name
    }

    /// Whether it has this name: `ValueError` for one of Python's own, `module.Name` for any other.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        match name.rsplit_once('.') {
            Some((module, name)) => self.module == module && self.name == name,
            None => self.is_builtin(name) || (self.module.is_empty() && self.name == name),
        }
    }

    /// The value of an attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Value> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The version of RPyC that raised it, unless the sender keeps it to itself.
    #[must_use]
    pub fn remote_version(&self) -> Option<&str> {
        match self.attribute(REMOTE_VERSION)? {
            Value::Str(version) if version != VERSION_DENIED => Some(version),
            _ => None,
        }
    }

    /// The message, if the exception has one text as its only argument.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        match self.args.as_slice() {
            [Value::Str(message)] => Some(message),
            _ => None,
        }
    }

    /// Reads the body of a message.
    pub(super) fn decode(body: &[u8], limits: &Limits) -> Result<Self, ReadError> {
        let mut cursor = Cursor::new(body, limits)?;
        let value = cursor.value(limits.depth)?;
        cursor.finish()?;
        match value {
            Value::Int(code) if code.to_i64() == Some(STOP_ITERATION_CODE) => {
                Ok(Self::stop_iteration())
            }
            Value::Str(text) => Ok(Self::new("", text, Vec::new())),
            value => Self::from_value(value).ok_or(ReadError::Refused(Refusal::BadException)),
        }
    }

    fn from_value(value: Value) -> Option<Self> {
        let [class, args, attributes, traceback] = members(value)?;
        let [Value::Str(module), Value::Str(name)] = members(class)? else { return None };
        let (Value::Tuple(args), Value::Tuple(pairs)) = (args, attributes) else { return None };
        let mut attributes = Vec::with_capacity(pairs.len());
        for pair in pairs {
            let [Value::Str(name), value] = members(pair)? else { return None };
            attributes.push((name.into(), value));
        }
        let traceback = match traceback {
            Value::Str(text) if text != TRACEBACK_DENIED => Some(text),
            _ => None,
        };
        Some(Self { module: module.into(), name: name.into(), args, attributes, traceback })
    }

    /// Appends the body of a message. `version` is used unless the exception holds one.
    pub(super) fn encode(&self, version: &str, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut out = Writer::new(out);
        if self.is_builtin(STOP_ITERATION) {
            out.int(STOP_ITERATION_CODE);
            return Ok(());
        }
        out.tuple(4)?.tuple(2)?.str(&self.module)?.str(&self.name)?.tuple(self.args.len())?;
        for arg in &self.args {
            out.value(arg)?;
        }
        let has_version = self.attribute(REMOTE_VERSION).is_some();
        out.tuple(self.attributes.len() + usize::from(!has_version))?;
        for (name, value) in &self.attributes {
            out.tuple(2)?.str(name)?.value(value)?;
        }
        if !has_version {
            out.tuple(2)?.str(REMOTE_VERSION)?.str(version)?;
        }
        out.str(self.traceback.as_deref().unwrap_or(TRACEBACK_DENIED))?;
        Ok(())
    }
}

fn members<const N: usize>(value: Value) -> Option<[Value; N]> {
    match value {
        Value::Tuple(members) => members.try_into().ok(),
        _ => None,
    }
}

impl fmt::Display for Exception {
    /// Writes the last line of a Python traceback.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.module.is_empty() && self.module != BUILTINS {
            write!(f, "{}.", self.module)?;
        }
        f.write_str(&self.name)?;
        match self.args.as_slice() {
            [] => Ok(()),
            [Value::Str(message)] => write!(f, ": {message}"),
            [value] => write!(f, ": {value}"),
            // What Python makes of an error of the system.
            [Value::Int(errno), Value::Str(message)] if self.attribute("strerror").is_some() => {
                write!(f, ": [Errno {errno}] {message}")?;
                match self.attribute("filename") {
                    None | Some(Value::None) => Ok(()),
                    Some(name) => write!(f, ": {name}"),
                }
            }
            [first, rest @ ..] => {
                write!(f, ": ({first}")?;
                rest.iter().try_for_each(|value| write!(f, ", {value}"))?;
                f.write_str(")")
            }
        }
    }
}

impl std::error::Error for Exception {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_reads_as_in_a_traceback() {
        let check = |exception: Exception, expected: &str| {
            assert_eq!(exception.to_string(), expected);
        };
        check(Exception::stop_iteration(), "StopIteration");
        check(Exception::builtin("ValueError", "wrong"), "ValueError: wrong");
        check(Exception::builtin("KeyError", 7), "KeyError: 7");
        check(
            Exception::new("ledger", "Torn", vec![1.into(), "b".into()]),
            "ledger.Torn: (1, 'b')",
        );
        let missing = vec![2.into(), "No such file or directory".into()];
        let missing = Exception::new("builtins", "FileNotFoundError", missing)
            .with_attribute("strerror", "No such file or directory");
        check(missing.clone(), "FileNotFoundError: [Errno 2] No such file or directory");
        let named = missing.with_attribute("filename", "/no/such");
        check(named, "FileNotFoundError: [Errno 2] No such file or directory: '/no/such'");
    }
}
