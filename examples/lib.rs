//! Small programs that use the libraries; the first lines of each say how to run it.

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
