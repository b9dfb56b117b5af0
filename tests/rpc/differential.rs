//! Real clients run the same small snippets against the conformance service in Rust and in Python.
//!
//! Each snippet of `tests/snippets` must have the same outcome with both, value or exception and
//! text, except for [`INTENDED`].

use rpyc_tests::{Reference, python};
use serde_json::Value;

use super::conformance::{Language, Server};

/// An intended difference between the service in Rust and the one in Python.
struct Difference {
    why: &'static str,
    /// A text that every affected snippet contains.
    snippet: &'static str,
    /// A text that Python's outcome contains.
    python: &'static str,
    /// A text that Rust's outcome contains.
    rust: &'static str,
}

impl Difference {
    fn shows(&self, snippet: &str, python: &str, rust: &str) -> bool {
        snippet.contains(self.snippet) && python.contains(self.python) && rust.contains(self.rust)
    }
}

const INTENDED: &[Difference] = &[
    Difference {
        why: "clients may call the methods of lists and dicts, which RPyC's default policy forbids",
        snippet: "table()",
        python: "AttributeError (\"cannot access '",
        rust: "",
    },
    Difference {
        why: "Python accepts a dict with `keys` as a mapping",
        snippet: "d = root.table()[2]; ",
        python: "a mapping",
        rust: "3",
    },
    Difference {
        why: "Python accepts a dict with `keys` as a mapping",
        snippet: "d = root.table()[2]; ",
        python: "dictionary update sequence element",
        rust: "",
    },
    Difference {
        why: "methods have names, which `help()` shows",
        snippet: "root.",
        python: "AttributeError (\"cannot access '__name__'\",)",
        rust: "",
    },
    Difference {
        why: "methods have names, which `help()` shows",
        snippet: "root.add.__",
        python: "AttributeError (\"cannot access '__",
        rust: "",
    },
    Difference {
        why: "only lists and dicts of values are pickled",
        snippet: "",
        python: "",
        rust: "ValueError ('pickling is disabled',)",
    },
    Difference {
        why: "a pickle in another of Python's formats, with the same content",
        snippet: "ickle",
        python: "bytes b'\\x80\\x04",
        rust: "bytes b'\\x80\\x04",
    },
    Difference {
        why: "a pickle in another of Python's formats, with the same content",
        snippet: "HANDLE_PICKLE, root.table(), 2",
        python: "bytes b'\\x80\\x02",
        rust: "bytes b'\\x80\\x03",
    },
    Difference {
        why: "an attribute that is not exposed looks like a missing one",
        snippet: "",
        python: "has no attribute '",
        rust: "AttributeError (\"cannot access '",
    },
    Difference {
        why: "every denied access has the same text",
        snippet: "",
        python: "AttributeError ('access denied',)",
        rust: "AttributeError (\"cannot access '",
    },
    Difference {
        why: "`dir` lists only the attributes that a client may use",
        snippet: "visible(",
        python: "",
        rust: "list [",
    },
    Difference {
        why: "a client cannot set a method of a counter",
        snippet: "c.inc = 5",
        python: "int 5",
        rust: "cannot access 'inc'",
    },
    Difference {
        why: "classes are not sent",
        snippet: "__class__",
        python: "",
        rust: "cannot access '__class__'",
    },
    Difference {
        why: "classes are not sent",
        snippet: "__reduce__",
        python: "cannot pickle 'module' object",
        rust: "cannot access '__class__'",
    },
    Difference {
        why: "the client formats values itself",
        snippet: "__format__(",
        python: "str 'counter at 0'",
        rust: "cannot access '__format__'",
    },
    Difference {
        why: "every iterator is a generator",
        snippet: "iter(",
        python: "_iterator",
        rust: "builtins.generator",
    },
    Difference {
        why: "every iterator is a generator, whose class rpyc 5 names `type`",
        snippet: "iter(",
        python: "dict_keyiterator",
        rust: "",
    },
    Difference {
        why: "an iterator covers the items at its start",
        snippet: "i = iter(d); d[\"x\"] = 1",
        python: "changed size during iteration",
        rust: "list ['three']",
    },
    Difference {
        why: "an iterator gives no length hint",
        snippet: "__length_hint__()",
        python: "int 3",
        rust: "cannot access",
    },
    Difference {
        why: "a generator in Rust has no name",
        snippet: "root.numbers(",
        python: "generator object Conformance.numbers",
        rust: "<generator object>",
    },
    Difference {
        why: "its documentation differs",
        snippet: "t.__doc__",
        python: "Built-in mutable sequence.",
        rust: "str 'A list.'",
    },
    Difference {
        why: "its documentation differs",
        snippet: "d.__doc__",
        python: "new empty dictionary",
        rust: "str 'A dict.'",
    },
    Difference {
        why: "add accepts only numbers, with Python's error for other types",
        snippet: "root.add(",
        python: "",
        rust: "TypeError (\"unsupported operand type(s) for +: ",
    },
    Difference {
        why: "a counter holds a number",
        snippet: "counter(",
        python: "",
        rust: "object cannot be interpreted as an integer",
    },
    Difference {
        why: "a counter adds numbers",
        snippet: "counter(3).inc(1j)",
        python: "complex (3+1j)",
        rust: "TypeError (\"unsupported operand type(s) for +=: 'int' and 'complex'\",)",
    },
    Difference {
        why: "a counter stores True as 1",
        snippet: "counter(",
        python: "True",
        rust: "1",
    },
    Difference {
        why: "an error about the type of an argument names the argument",
        snippet: "root.",
        python: "TypeError (",
        rust: "() argument '",
    },
    Difference {
        why: "an error about the type of an argument names the argument",
        snippet: "root.payload(2**6",
        python: "OverflowError (",
        rust: "() argument 'n': int out of range for i64",
    },
    Difference {
        why: "an argument of the wrong type fails at once; Python's timer fails without an error",
        snippet: "root.later(",
        python: "NoneType None",
        rust: "TypeError (\"Conformance.later() argument 'seconds': must be real number",
    },
    Difference {
        why: "the exception has a text",
        snippet: "root.payload(2**40)",
        python: "MemoryError ()",
        rust: "MemoryError ('more than a message can hold',)",
    },
    Difference {
        why: "an exception of the service does not end the connection",
        snippet: "root.fail('KeyboardInterrupt', ",
        python: "EOFError ('stream has been closed',)",
        rust: "raised KeyboardInterrupt (",
    },
    Difference {
        why: "an exception of the client keeps its name when the service passes it on",
        snippet: "class Mine(",
        python: "raised rpyc.core.vinegar/builtins.builtins.Mine ('x',)",
        rust: "raised builtins.Mine ('x',)",
    },
    Difference {
        why: "the service shows an object of the client without a request to the client",
        snippet: "[1]",
        python: "[1]",
        rust: "<builtins.list object of the client>",
    },
    Difference {
        why: "the depth of values is limited",
        snippet: "for _ in range(200): t = (t,)",
        python: "bool True",
        rust: "ValueError ('values nested too deeply',)",
    },
    Difference {
        why: "requests in progress are dropped when the client leaves; rpyc 6 finds out as it closes",
        snippet: "r = rpyc.async_(root.sleep)(0.3)\nconn.close()",
        python: "NoneType None",
        rust: "EOFError ('stream has been closed',)",
    },
    Difference {
        why: "the protocol has its own error for the wrong number of arguments",
        snippet: "conn.sync_request(",
        python: "TypeError (\"Connection._handle_",
        rust: " arguments',)",
    },
    Difference {
        why: "the protocol has its own error for the wrong number of arguments",
        snippet: "conn.sync_request(",
        python: "TypeError ('Connection._handle_",
        rust: "raised ",
    },
    Difference {
        why: "requests apply only to objects of the receiver, never to values",
        snippet: "conn.sync_request(",
        python: "",
        rust: " needs an object of the receiver's\",)",
    },
    Difference {
        why: "the protocol has its own error for arguments of the wrong types",
        snippet: "conn.sync_request(consts.HANDLE_CALL, ",
        python: "TypeError (",
        rust: "TypeError ('cannot unpack non-iterable ",
    },
    Difference {
        why: "the protocol has its own error for arguments of the wrong types",
        snippet: "",
        python: "",
        rust: "needs a number that is not negative",
    },
    Difference {
        why: "a slice request of Python 2 fails as a slice",
        snippet: "conn.sync_request(consts.HANDLE_OLDSLICING, root.counter(5)",
        python: "has no attribute '__getslice__'",
        rust: "TypeError (",
    },
    Difference {
        why: "rpyc 5 names the class of every list and dict of the peer `type`",
        snippet: "",
        python: "type'",
        rust: "'builtins.",
    },
    Difference {
        why: "rpyc 5 names the class of every list and dict of the peer `type`",
        snippet: "",
        python: "type",
        rust: "not builtins.",
    },
    Difference {
        why: "rpyc 5 names the class of every list and dict of the peer `type`",
        snippet: "",
        python: "list (not \"type\") to list",
        rust: "list (not \"builtins.",
    },
    Difference {
        why: "dicts of both sides can be merged",
        snippet: "d | {",
        python: "TypeError (\"unsupported operand type(s) for |",
        rust: "netref dict {",
    },
    Difference {
        why: "dicts of both sides can be merged",
        snippet: "__or__({})",
        python: "NotImplemented",
        rust: "netref dict {",
    },
    Difference {
        why: "the client decides an instance check by its own class",
        snippet: "conn.sync_request(consts.HANDLE_INSTANCECHECK, ",
        python: "raised TypeError (",
        rust: "bool False",
    },
];

#[test]
fn the_services_differ_only_as_intended() {
    let mut used = vec![false; INTENDED.len()];
    let mut unintended = Vec::new();
    for reference in Reference::ALL {
        let [rust, python] = std::thread::scope(|scope| {
            [Language::Rust, Language::Python(reference)]
                .map(|language| scope.spawn(move || outcomes(reference, language)))
                .map(|outcomes| outcomes.join().unwrap())
        });
        assert!(rust.len() > 1000 && rust.len() == python.len());
        for (snippet, python) in &python {
            let [python, rust] = [python, &rust[snippet]].map(|outcome| outcome.as_str().unwrap());
            if python == rust {
                continue;
            }
            let place = INTENDED.iter().position(|it| it.shows(snippet, python, rust));
            match place {
                Some(place) => used[place] = true,
                None => unintended.push(format!("{snippet}\n  Python: {python}\n  Rust:   {rust}")),
            }
        }
    }
    assert!(unintended.is_empty(), "{}", unintended.join("\n"));
    let unused = INTENDED.iter().zip(used).filter(|(_, is_used)| !is_used);
    let unused: Vec<_> = unused.map(|(difference, _)| difference.why).collect();
    assert!(unused.is_empty(), "these differences no longer occur: {unused:?}");
}

fn outcomes(reference: Reference, language: Language) -> serde_json::Map<String, Value> {
    let server = Server::start(language, &[]);
    let port = server.port.to_string();
    let snippets = concat!(env!("CARGO_MANIFEST_DIR"), "/snippets");
    let script = include_str!("../python/differential.py");
    match python::run(reference, None, script, &["127.0.0.1", &port, snippets]) {
        Value::Object(outcomes) => outcomes,
        other => panic!("no outcomes: {other}"),
    }
}
