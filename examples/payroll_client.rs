//! Finds PAYROLL by its name and asks it for a salary; the server may be in Rust or in Python.
//!
//! ```text
//! cargo run --example payroll_server &       # or: python3 examples/python/payroll_server.py &
//! cargo run --example payroll_client -- Mertz David
//! ```
//!
//! `RPYC_REGISTRY=HOST:PORT` names the registry; without it, the program looks for one nearby.
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;

use rpyc_client::{args, connect_by_service};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let last = words.next().unwrap_or_else(|| "Mertz".to_owned());
    let first = words.next().unwrap_or_else(|| "David".to_owned());
    let connection = connect_by_service("PAYROLL").await?;
    let payroll = connection.root().await?;
    let salary: f64 = payroll.call("get_salary", args![last, first]).await?;
    println!("{first} {last} earns {salary} a month");
    connection.close().await;
    Ok(())
}
