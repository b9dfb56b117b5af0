//! Serves PAYROLL and announces it, for clients in Rust and in Python.
//!
//! ```text
//! cargo run --example payroll_server
//! cargo run --example payroll_client -- Mertz David    # or: python3 examples/python/payroll_client.py
//! ```
//!
//! `RPYC_REGISTRY=HOST:PORT` names the registry; without it, the program looks for one nearby.

use std::error::Error;

use rpyc_server::builtins::KeyError;
use rpyc_server::{Server, service, shutdown_signal};

struct Payroll;

#[service]
impl Payroll {
    /// Monthly salary in euros.
    fn get_salary(&self, last: &str, first: &str) -> Result<f64, KeyError> {
        match last {
            "Mertz" => Ok(4200.0),
            _ => Err(KeyError::new(format!("{first} {last} does not work here"))),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    Server::builder(Payroll).bind("0.0.0.0:0").register().serve(shutdown_signal()).await?;
    Ok(())
}
