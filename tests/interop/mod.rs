//! Real RPyC programs on this machine, with one registry.

use rpyc_tests::{Reference, Registrar, Registry, Server, ServerOptions, Transport, Via};
use serde_json::Value;

/// Makes a module of each scenario, with a test for each way to run it.
///
/// A `shared` scenario runs with the daemon in every way, and with RPyC's own registry over both
/// transports. An `ours` scenario runs with the daemon only.
macro_rules! scenarios {
    (shared: $($scenario:ident,)+) => {$(
        mod $scenario {
            scenarios!(@each_way super::$scenario::<rpyc_tests::Daemon>);
            scenarios!(@test control_over_udp Rpyc6 Udp super::$scenario::<rpyc_tests::Control>);
            scenarios!(@test control_over_tcp Rpyc6 Tcp super::$scenario::<rpyc_tests::Control>);
        }
    )+};
    (ours: $($scenario:ident,)+) => {$(
        mod $scenario {
            scenarios!(@each_way super::$scenario);
        }
    )+};
    (@each_way $($play:tt)+) => {
        scenarios!(@test rpyc5_over_udp Rpyc5 Udp $($play)+);
        scenarios!(@test rpyc5_over_tcp Rpyc5 Tcp $($play)+);
        scenarios!(@test rpyc6_over_udp Rpyc6 Udp $($play)+);
        scenarios!(@test rpyc6_over_tcp Rpyc6 Tcp $($play)+);
    };
    (@test $name:ident $reference:ident $transport:ident $($play:tt)+) => {
        #[test]
        fn $name() {
            let reference = rpyc_tests::Reference::$reference;
            let transport = rpyc_tests::Transport::$transport;
            $($play)+(super::Case { reference, transport });
        }
    };
}

mod bench;
mod cut;
mod ipv6;
mod operator;
mod order;
mod ours;
mod registry_suite;
mod shared;
mod switches;

/// The version of RPyC and the transport with which a scenario runs.
#[derive(Debug, Clone, Copy)]
struct Case {
    reference: Reference,
    transport: Transport,
}

impl Case {
    /// How Python programs reach `registry`.
    fn via(self, registry: &impl Registry) -> Via {
        let address = registry.address(self.transport);
        match self.transport {
            Transport::Udp => Via::Udp(address),
            Transport::Tcp => Via::Tcp(address),
        }
    }

    /// A client of `registry`.
    fn client(self, registry: &impl Registry) -> Registrar {
        Registrar::start(self.reference, self.via(registry))
    }

    /// A server of `names`, acknowledged by `registry`.
    fn server(self, registry: &impl Registry, names: &[&str]) -> Server {
        self.options(registry, names).start_registered(self.reference)
    }

    /// A server of `names` that will announce itself to `registry`.
    fn options(self, registry: &impl Registry, names: &[&str]) -> ServerOptions {
        Server::named(names).via(self.via(registry))
    }
}

/// The sorted elements of a list, for comparisons that ignore the registry's order.
pub(crate) fn sorted(list: &Value) -> Vec<String> {
    let mut elements: Vec<_> = list.as_array().unwrap().iter().map(Value::to_string).collect();
    elements.sort();
    elements
}
