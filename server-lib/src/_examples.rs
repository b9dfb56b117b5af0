//! Whole programs that use this crate, as they stand in the folder `examples` of the project.
//!
//! This module holds documentation only.

/// Serves PAYROLL and announces it.
///
/// ```ignore
#[doc = include_str!("_examples/payroll_server.rs")]
/// ```
pub mod payroll_server {}

/// A room for many clients, which the server calls back.
///
/// ```ignore
#[doc = include_str!("_examples/chat_server.rs")]
/// ```
pub mod chat_server {}

/// Serves over TLS, to all clients or to those with a certificate.
///
/// ```ignore
#[doc = include_str!("_examples/tls_server.rs")]
/// ```
pub mod tls_server {}

/// Serves the program that starts it, over standard input and output.
///
/// ```ignore
#[doc = include_str!("_examples/stdio_server.rs")]
/// ```
pub mod stdio_server {}
