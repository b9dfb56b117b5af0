//! Serve RPyC services, and be found.
//!
//! So far this is the [`Announcer`], which keeps registries told that services are served here,
//! as RPyC's servers do with `auto_register=True`.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use rpyc_server::{Announcer, Port, Registries, ServiceName};
//!
//! let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await?;
//! let addr = listener.local_addr()?;
//! let announcer = Announcer::builder(
//!     [ServiceName::new("payroll")?, ServiceName::new("wages")?],
//!     Port::tcp(addr.port())?,
//!     Registries::from_env()?,
//! )
//! .bind(addr)
//! .build();
//!
//! let serving = async { /* accept connections until it is time to end */ };
//! announcer.run(serving).await;
//! # Ok(())
//! # }
//! ```

mod announcer;

pub use announcer::{Announcer, AnnouncerBuilder, State, Status};
pub use rpyc_client::{
    Acknowledgement, Port, RegisterError, Registries, RegistryAddr, RegistryAddrError, ServiceName,
};
