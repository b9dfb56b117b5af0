//! What only this project's registry is asked and answers: leases with an owner, states, filters,
//! changes as they happen.
//!
//! ```no_run
//! use rpyc_client::Registrar;
//! use rpyc_client::native::{ChangeKind, Query};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registrar::from_env()?.native();
//! for service in registry.list(Query { prefix: Some("pay".into()), ..Query::default() }).await?.value {
//!     for instance in service.instances {
//!         println!("{} {} {}", service.name, instance.endpoint, instance.state);
//!     }
//! }
//! let mut watch = registry.watch(Some("PAYROLL"), None).await?;
//! while let Ok(change) = watch.changed().await {
//!     if let ChangeKind::Added(name, instance) = change.kind {
//!         println!("{name} is served at {}", instance.endpoint);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

pub use rpyc_protocol::registry::native::{
    Details, DetailsUpdate, ErrorCode, Filter, Granted, LeaseId, Registration, Revision, State,
    Status, StoreId, Target,
};

pub use crate::registrar::native::{
    Answer, Change, ChangeKind, Native, Query, RegistryProtocol, Watch, WatchError,
};
