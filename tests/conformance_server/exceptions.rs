//! Python's own exceptions, raised by name.

use rpyc_server::builtins::{TypeError, ValueError};
use rpyc_server::{Exception, Value};

/// Returns the exception of this name with one argument, or the error that Python raises instead.
pub(super) fn raised(kind: String, argument: Value) -> Exception {
    let message = match &*kind {
        _ if TAKE_ONE.contains(&&*kind) => return Exception::builtin(kind, argument),
        "BaseExceptionGroup" | "ExceptionGroup" => {
            "BaseExceptionGroup.__new__() takes exactly 2 arguments (1 given)"
        }
        "UnicodeDecodeError" | "UnicodeEncodeError" => {
            "function takes exactly 5 arguments (1 given)"
        }
        "UnicodeTranslateError" => "function takes exactly 4 arguments (1 given)",
        _ => return ValueError::new(format!("no exception of Python's: {kind}")).into(),
    };
    TypeError::new(message).into()
}

/// The exceptions that take one message.
const TAKE_ONE: &[&str] = &[
    "ArithmeticError",
    "AssertionError",
    "AttributeError",
    "BaseException",
    "BlockingIOError",
    "BrokenPipeError",
    "BufferError",
    "BytesWarning",
    "ChildProcessError",
    "ConnectionAbortedError",
    "ConnectionError",
    "ConnectionRefusedError",
    "ConnectionResetError",
    "DeprecationWarning",
    "EOFError",
    "EncodingWarning",
    "EnvironmentError",
    "Exception",
    "FileExistsError",
    "FileNotFoundError",
    "FloatingPointError",
    "FutureWarning",
    "GeneratorExit",
    "IOError",
    "ImportError",
    "ImportWarning",
    "IndentationError",
    "IndexError",
    "InterruptedError",
    "IsADirectoryError",
    "KeyError",
    "KeyboardInterrupt",
    "LookupError",
    "MemoryError",
    "ModuleNotFoundError",
    "NameError",
    "NotADirectoryError",
    "NotImplementedError",
    "OSError",
    "OverflowError",
    "PendingDeprecationWarning",
    "PermissionError",
    "ProcessLookupError",
    "PythonFinalizationError",
    "RecursionError",
    "ReferenceError",
    "ResourceWarning",
    "RuntimeError",
    "RuntimeWarning",
    "StopAsyncIteration",
    "StopIteration",
    "SyntaxError",
    "SyntaxWarning",
    "SystemError",
    "SystemExit",
    "TabError",
    "TimeoutError",
    "TypeError",
    "UnboundLocalError",
    "UnicodeError",
    "UnicodeWarning",
    "UserWarning",
    "ValueError",
    "Warning",
    "ZeroDivisionError",
];
