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
        why: "lists and dicts have their methods, which RPyC's default policy keeps to itself",
        snippet: "table()",
        python: "AttributeError (\"cannot access '",
        rust: "",
    },
    Difference {
        why: "a dict that has `keys` is a mapping to Python",
        snippet: "d = root.table()[2]; ",
        python: "a mapping",
        rust: "3",
    },
    Difference {
        why: "a dict that has `keys` is a mapping to Python",
        snippet: "d = root.table()[2]; ",
        python: "dictionary update sequence element",
        rust: "",
    },
    Difference {
        why: "methods tell their names, which `help()` shows",
        snippet: "root.",
        python: "AttributeError (\"cannot access '__name__'\",)",
        rust: "",
    },
    Difference {
        why: "methods tell their names, which `help()` shows",
        snippet: "root.add.__",
        python: "AttributeError (\"cannot access '__",
        rust: "",
    },
    Difference {
        why: "lists and dicts of values are pickled, and nothing else",
        snippet: "",
        python: "",
        rust: "ValueError ('pickling is disabled',)",
    },
    Difference {
        why: "a pickle in another of Python's formats, with the same in it",
        snippet: "ickle",
        python: "bytes b'\\x80\\x04",
        rust: "bytes b'\\x80\\x04",
    },
    Difference {
        why: "a pickle in another of Python's formats, with the same in it",
        snippet: "HANDLE_PICKLE, root.table(), 2",
        python: "bytes b'\\x80\\x02",
        rust: "bytes b'\\x80\\x03",
    },
    Difference {
        why: "what is not exposed is not told from what is not there",
        snippet: "",
        python: "has no attribute '",
        rust: "AttributeError (\"cannot access '",
    },
    Difference {
        why: "one text for all that is denied",
        snippet: "",
        python: "AttributeError ('access denied',)",
        rust: "AttributeError (\"cannot access '",
    },
    Difference {
        why: "`dir` tells what can be reached, and nothing else",
        snippet: "visible(",
        python: "",
        rust: "list [",
    },
    Difference {
        why: "a method of a counter is no attribute of it to be set",
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
        why: "`format` is the client's own affair",
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
        why: "an iterator goes over what was there when it began",
        snippet: "i = iter(d); d[\"x\"] = 1",
        python: "changed size during iteration",
        rust: "list ['three']",
    },
    Difference {
        why: "an iterator does not guess how long it is",
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
        why: "documented in its own words",
        snippet: "t.__doc__",
        python: "Built-in mutable sequence.",
        rust: "str 'A list.'",
    },
    Difference {
        why: "documented in its own words",
        snippet: "d.__doc__",
        python: "new empty dictionary",
        rust: "str 'A dict.'",
    },
    Difference {
        why: "add is for numbers, and says so as Python does of most other things",
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
    Difference { why: "a truth in a counter is 1", snippet: "counter(", python: "True", rust: "1" },
    Difference {
        why: "an argument of the wrong type is told by its name",
        snippet: "root.",
        python: "TypeError (",
        rust: "() argument '",
    },
    Difference {
        why: "an argument of the wrong type is told by its name",
        snippet: "root.payload(2**6",
        python: "OverflowError (",
        rust: "() argument 'n': int out of range for i64",
    },
    Difference {
        why: "an argument of the wrong type is told at once, where Python's timer fails unseen",
        snippet: "root.later(",
        python: "NoneType None",
        rust: "TypeError (\"Conformance.later() argument 'seconds': must be real number",
    },
    Difference {
        why: "an exception that tells what is the matter",
        snippet: "root.payload(2**40)",
        python: "MemoryError ()",
        rust: "MemoryError ('more than a message can hold',)",
    },
    Difference {
        why: "an exception of the service's ends no connection",
        snippet: "root.fail('KeyboardInterrupt', ",
        python: "EOFError ('stream has been closed',)",
        rust: "raised KeyboardInterrupt (",
    },
    Difference {
        why: "an exception of the client's keeps its name on its way through the service",
        snippet: "class Mine(",
        python: "raised rpyc.core.vinegar/builtins.builtins.Mine ('x',)",
        rust: "raised builtins.Mine ('x',)",
    },
    Difference {
        why: "an object of the client's is shown without asking it",
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
        why: "what still waits when the client leaves is dropped; rpyc 6 hears of it when it closes",
        snippet: "r = rpyc.async_(root.sleep)(0.3)\nconn.close()",
        python: "NoneType None",
        rust: "EOFError ('stream has been closed',)",
    },
    Difference {
        why: "a request with too few or too many arguments is told in the protocol's words",
        snippet: "conn.sync_request(",
        python: "TypeError (\"Connection._handle_",
        rust: " arguments',)",
    },
    Difference {
        why: "a request with too few or too many arguments is told in the protocol's words",
        snippet: "conn.sync_request(",
        python: "TypeError ('Connection._handle_",
        rust: "raised ",
    },
    Difference {
        why: "requests are about objects of the receiver's, never about values",
        snippet: "conn.sync_request(",
        python: "",
        rust: " needs an object of the receiver's\",)",
    },
    Difference {
        why: "a request with arguments of the wrong types is told in the protocol's words",
        snippet: "conn.sync_request(consts.HANDLE_CALL, ",
        python: "TypeError (",
        rust: "TypeError ('cannot unpack non-iterable ",
    },
    Difference {
        why: "a request with arguments of the wrong types is told in the protocol's words",
        snippet: "",
        python: "",
        rust: "needs a number that is not negative",
    },
    Difference {
        why: "slicing as Python 2 had it is slicing, and refused as such",
        snippet: "conn.sync_request(consts.HANDLE_OLDSLICING, root.counter(5)",
        python: "has no attribute '__getslice__'",
        rust: "TypeError (",
    },
    Difference {
        why: "rpyc 5 calls the class of every list and dict of the peer's `type`",
        snippet: "",
        python: "type'",
        rust: "'builtins.",
    },
    Difference {
        why: "rpyc 5 calls the class of every list and dict of the peer's `type`",
        snippet: "",
        python: "type",
        rust: "not builtins.",
    },
    Difference {
        why: "rpyc 5 calls the class of every list and dict of the peer's `type`",
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
        why: "an instance check by a class of the client's is its own affair",
        snippet: "conn.sync_request(consts.HANDLE_INSTANCECHECK, ",
        python: "raised TypeError (",
        rust: "bool False",
    },
];

#[test]
fn the_services_are_told_apart_by_nothing_but_what_is_intended() {
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
    assert!(unused.is_empty(), "no differences any more: {unused:?}");
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
