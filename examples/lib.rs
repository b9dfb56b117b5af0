//! Small programs that use the libraries; each says in its first lines how to run it.

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
