//! What a method's error is to the peer.

use std::convert::Infallible;
use std::io;

use rpyc_client::{CallError, ConvertError, Exception, Value};

/// An error that can be sent to the peer, as an exception that it raises there.
///
/// It can be derived for errors with a message ([`Display`](std::fmt::Display)), which becomes the
/// exception's argument. `#[exception(..)]` on the type or a variant says which exception it is:
///
/// | `#[exception(..)]` | |
/// |---|---|
/// | `KeyError` | one of Python's own, of the [`builtins`] |
/// | `"payroll.Closed"` | one by its full name; clients that do not know it make one of that name |
/// | `transparent` | that of the only field, as an [`io::Error`] with its `errno` |
/// | nothing | one of the type's own name |
///
/// ```
/// use std::io;
///
/// use rpyc_server::{IntoException, service};
///
/// #[derive(Debug, thiserror::Error, IntoException)]
/// enum PayrollError {
///     #[error("there is no {first} {last}")]
///     #[exception(KeyError)]
///     NoSuchEmployee { first: String, last: String },
///     #[error("come again tomorrow")]
///     #[exception("payroll.Closed")]
///     Closed,
///     #[error(transparent)]
///     #[exception(transparent)]
///     Books(#[from] io::Error),
/// }
///
/// struct Payroll;
///
/// #[service]
/// impl Payroll {
///     fn get_salary(&self, last: String, first: String) -> Result<f64, PayrollError> {
///         let books = std::fs::read_to_string("books.txt")?;
///         let salary = books.lines().find_map(|line| line.strip_prefix(&*last)?.trim().parse().ok());
///         salary.ok_or(PayrollError::NoSuchEmployee { first, last })
///     }
/// }
/// ```
///
/// Exceptions with more than a message are made by hand:
///
/// ```
/// use rpyc_server::{Exception, IntoException};
///
/// struct OutOfPaper {
///     tray: i64,
/// }
///
/// impl IntoException for OutOfPaper {
///     fn into_exception(self) -> Exception {
///         Exception::new("printer", "OutOfPaper", vec!["no paper".into()])
///             .with_attribute("tray", self.tray)
///     }
/// }
/// ```
pub trait IntoException {
    /// The exception.
    fn into_exception(self) -> Exception;
}

impl IntoException for Exception {
    fn into_exception(self) -> Exception {
        self
    }
}

impl IntoException for CallError {
    fn into_exception(self) -> Exception {
        self.into()
    }
}

impl IntoException for ConvertError {
    fn into_exception(self) -> Exception {
        self.into()
    }
}

impl IntoException for Infallible {
    fn into_exception(self) -> Exception {
        match self {}
    }
}

/// `OSError` or the one of its kinds that Python has for the code, with `errno` and `strerror`.
impl IntoException for io::Error {
    fn into_exception(self) -> Exception {
        let name = match self.kind() {
            io::ErrorKind::AlreadyExists => "FileExistsError",
            io::ErrorKind::BrokenPipe => "BrokenPipeError",
            io::ErrorKind::ConnectionAborted => "ConnectionAbortedError",
            io::ErrorKind::ConnectionRefused => "ConnectionRefusedError",
            io::ErrorKind::ConnectionReset => "ConnectionResetError",
            io::ErrorKind::Interrupted => "InterruptedError",
            io::ErrorKind::IsADirectory => "IsADirectoryError",
            io::ErrorKind::NotADirectory => "NotADirectoryError",
            io::ErrorKind::NotFound => "FileNotFoundError",
            io::ErrorKind::PermissionDenied => "PermissionError",
            io::ErrorKind::TimedOut => "TimeoutError",
            io::ErrorKind::WouldBlock => "BlockingIOError",
            _ => "OSError",
        };
        let text = self.to_string();
        let Some(code) = self.raw_os_error() else { return Exception::builtin(name, text) };
        // Rust appends the code to the text; Python keeps them apart.
        let suffix = format!(" (os error {code})");
        let text = text.strip_suffix(&suffix).unwrap_or(&text);
        let code = i64::from(code);
        Exception::new("builtins", name, vec![code.into(), text.into()])
            .with_attribute("errno", code)
            .with_attribute("filename", Value::None)
            .with_attribute("filename2", Value::None)
            .with_attribute("strerror", text)
    }
}

macro_rules! builtins {
    ($($name:ident)*) => {
        /// Python's own exceptions, by their names.
        ///
        /// ```
        /// use rpyc_server::Exception;
        /// use rpyc_server::builtins::ValueError;
        ///
        /// fn parse(text: &str) -> Result<i64, ValueError> {
        ///     text.parse().map_err(|_| ValueError::new(format!("no number: {text}")))
        /// }
        ///
        /// fn twice(text: &str) -> Result<i64, Exception> {
        ///     Ok(2 * parse(text)?)
        /// }
        /// ```
        pub mod builtins {
            use super::{Exception, IntoException, Value};

            $(
                #[doc = concat!("Python's `", stringify!($name), "`.")]
                #[derive(Clone, Debug, PartialEq, Eq)]
                pub struct $name(Value);

                impl $name {
                    /// With its one argument, usually a message.
                    #[must_use]
                    pub fn new(argument: impl Into<Value>) -> Self {
                        Self(argument.into())
                    }
                }

                impl From<$name> for Exception {
                    fn from(error: $name) -> Self {
                        Self::builtin(stringify!($name), error.0)
                    }
                }

                impl IntoException for $name {
                    fn into_exception(self) -> Exception {
                        self.into()
                    }
                }
            )*
        }
    };
}

builtins! {
    ArithmeticError AssertionError AttributeError BufferError ConnectionError FileExistsError
    FileNotFoundError IndexError KeyError LookupError MemoryError NameError NotImplementedError
    OSError OverflowError PermissionError RuntimeError StopIteration TimeoutError TypeError
    UnicodeError ValueError ZeroDivisionError
}
