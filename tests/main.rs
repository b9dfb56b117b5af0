//! Whole-system tests: the real daemon with real RPyC programs, on this machine and small networks.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "these are tests")]

/// Makes a module of each function, with a test for each version of RPyC.
macro_rules! with_each_version {
    ($($test:ident,)+) => {$(
        mod $test {
            #[test]
            fn rpyc5() {
                super::$test(rpyc_tests::Reference::Rpyc5);
            }

            #[test]
            fn rpyc6() {
                super::$test(rpyc_tests::Reference::Rpyc6);
            }
        }
    )+};
}

mod announcing;
mod durability;
mod embedded;
mod ending;
mod examples;
mod golden;
mod guide;
mod harness;
mod hostile;
mod interop;
mod netns;
mod operators;
mod probes;
mod resolver;
mod rpc;
mod rpyc_suite;
