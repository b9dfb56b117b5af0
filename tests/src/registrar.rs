//! A real RPyC client of a registry.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::namespace::Host;
use crate::process::Process;
use crate::python;
use crate::reference::Reference;

/// The way in which a Python program reaches its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Via {
    /// Broadcast to port 18811, RPyC's default without registrar arguments. Only in a namespace.
    Default,
    /// `UDPRegistryClient` with this address. An IPv6 address may have a scope.
    Udp(SocketAddr),
    /// `TCPRegistryClient` with this address.
    Tcp(SocketAddr),
}

impl Via {
    /// The options that pass this to the scripts of the harness.
    pub(crate) fn options(self) -> Vec<String> {
        let (kind, address) = match self {
            Self::Default => return vec!["--registrar=default".to_owned()],
            Self::Udp(address) => ("udp", address),
            Self::Tcp(address) => ("tcp", address),
        };
        let mut options = vec![
            format!("--registrar={kind}"),
            format!("--registry-host={}", scoped(address)),
            format!("--registry-port={}", address.port()),
        ];
        if address.is_ipv6() {
            options.push("--registry-ipv6".to_owned());
        }
        options
    }
}

/// The address without its port but with its scope.
fn scoped(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        _ => address.ip().to_string(),
    }
}

/// An exception that RPyC raised.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Raised {
    /// The name of the exception's class.
    pub class: String,
    /// The text of the exception.
    pub message: String,
}

/// A Python process that discovers, lists, registers and calls with RPyC's own functions.
///
/// The methods that return a [`Value`] fail the test when RPyC raises an exception;
/// [`try_ask`](Self::try_ask) returns it.
#[derive(Debug)]
pub struct Registrar {
    process: Process,
    n_answers: usize,
}

impl Registrar {
    /// Starts a client on this machine.
    ///
    /// Its timeout is longer than RPyC's, for loaded machines.
    pub fn start(reference: Reference, via: Via) -> Self {
        assert_ne!(via, Via::Default, "outside a namespace nothing broadcasts");
        let patient = "--timeout=20".to_owned();
        Self::launch(reference, None, [via.options(), vec![patient]].concat())
    }

    /// Starts a client on `host`, with RPyC's own timeout.
    pub fn start_on(host: &Host, reference: Reference, via: Via) -> Self {
        Self::launch(reference, Some(host), via.options())
    }

    fn launch(reference: Reference, host: Option<&Host>, options: Vec<String>) -> Self {
        Self { process: python::script(reference, host, "registrar.py", &options), n_answers: 0 }
    }

    /// Sends one request to the script: the name of a method of its `Requests`, then the arguments.
    ///
    /// # Errors
    /// The exception that RPyC raised.
    pub fn try_ask(&mut self, request: &Value) -> Result<Value, Raised> {
        self.process.write_line(&request.to_string());
        let n = self.n_answers;
        let what = format!("answer to {request}");
        let line = self.process.wait_for(&what, |lines| lines.get(n).cloned());
        self.n_answers += 1;
        let mut answer: Value = serde_json::from_str(&line).expect("the script answers in JSON");
        let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
        let mut take = |key| answer.get_mut(key).map(Value::take);
        match take("error") {
            Some(class) => Err(Raised {
                class: text(class),
                message: text(take("message").unwrap_or_default()),
            }),
            None => Ok(take("value").unwrap_or_default()),
        }
    }

    /// Like [`try_ask`](Self::try_ask), but fails the test on an exception.
    #[track_caller]
    pub fn ask(&mut self, request: &Value) -> Value {
        self.try_ask(request).unwrap_or_else(|raised| panic!("{request} raised {raised:?}"))
    }

    /// The registry's reply to QUERY: `[[host, port], ...]`.
    #[track_caller]
    pub fn query(&mut self, name: &str) -> Value {
        self.ask(&json!(["query", name]))
    }

    /// `rpyc.discover(name)`.
    ///
    /// # Errors
    /// `DiscoveryError` if the registry returns no server.
    pub fn discover(&mut self, name: &str) -> Result<Value, Raised> {
        self.try_ask(&json!(["discover", name]))
    }

    /// `rpyc.list_services(filter_host=...)`: `[name, ...]`.
    ///
    /// # Errors
    /// `ForbiddenError` if the registry does not allow listing.
    pub fn list(&mut self, filter_host: Option<&str>) -> Result<Value, Raised> {
        self.try_ask(&json!(["list", filter_host]))
    }

    /// Registers `names` at `port`, an integer or a path; returns whether that was acknowledged.
    #[track_caller]
    pub fn register(&mut self, names: &[&str], port: impl Into<Value>) -> bool {
        self.ask(&json!(["register", names, port.into()])) == json!(true)
    }

    /// Deregisters `port` without waiting for the registry's reply.
    #[track_caller]
    pub fn unregister(&mut self, port: impl Into<Value>) {
        self.ask(&json!(["unregister", port.into()]));
    }

    /// `rpyc.connect_by_service(name).root.METHOD(argument...)`.
    #[track_caller]
    pub fn call(&mut self, name: &str, method: &str, arguments: &[Value]) -> Value {
        let request = [&[json!("call"), json!(name), json!(method)], arguments].concat();
        self.ask(&Value::from(request))
    }
}
