//! Whole programs that use this crate, as they stand in the folder `examples` of the project.
//!
//! This module holds documentation only.

/// Finds a service by its name and calls it.
///
/// ```ignore
#[doc = include_str!("_examples/payroll_client.rs")]
/// ```
pub mod payroll_client {}

/// Stays connected to a service while its servers and the registry come and go.
///
/// ```ignore
#[doc = include_str!("_examples/resolver.rs")]
/// ```
pub mod resolver {}

/// Passes functions of this program, which a remote Python calls.
///
/// ```ignore
#[doc = include_str!("_examples/callbacks.rs")]
/// ```
pub mod callbacks {}

/// Uses a remote Python: modules, expressions, values in both directions.
///
/// ```ignore
#[doc = include_str!("_examples/classic.rs")]
/// ```
pub mod classic {}

/// Copies files and folders to and from a classic server.
///
/// ```ignore
#[doc = include_str!("_examples/file_transfer.rs")]
/// ```
pub mod file_transfer {}

/// Calls a service over TLS; knows the server by its certificate.
///
/// ```ignore
#[doc = include_str!("_examples/tls_client.rs")]
/// ```
pub mod tls_client {}
