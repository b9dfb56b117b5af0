//! Finds PAYROLL by its name and asks it for a salary, whatever language it is written in.
//!
//! ```text
//! cargo run --example payroll_server &       # or: python3 examples/python/payroll_server.py &
//! cargo run --example payroll_client -- Mertz David
//! ```
//!
//! `RPYC_REGISTRY=HOST:PORT` names the registry; without it, one nearby is looked for.
#![expect(clippy::print_stdout, reason = "this is what it is for")]
#![expect(clippy::indexing_slicing, reason = "what was read fits what it was read into")]

use std::error::Error;
use std::time::Instant;

use rpyc_client::{ServiceStream, connect_by_service};
use rpyc_protocol::brine::Value;
use rpyc_protocol::rpc::{
    Action, Arguments, Boxed, CallOptions, Config, Dialect, Event, Exception, Session,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let last = args.next().unwrap_or_else(|| "Mertz".to_owned());
    let first = args.next().unwrap_or_else(|| "David".to_owned());
    // RPyC 6 and those before it do not understand each other, so both are tried.
    let salary = match get_salary(Dialect::V6, &last, &first).await {
        Ok(salary) => salary,
        Err(_) => get_salary(Dialect::V5, &last, &first).await?,
    };
    println!("{first} {last} earns {salary} a month");
    Ok(())
}

async fn get_salary(dialect: Dialect, last: &str, first: &str) -> Result<f64, Box<dyn Error>> {
    let mut stream = connect_by_service("PAYROLL").await?;
    let mut session = Session::new(Instant::now(), Config::client(dialect));
    session.get_root(CallOptions::default())?;
    let Boxed::Remote(root) = answer(&mut session, &mut stream).await? else {
        return Err("the server offers nothing".into());
    };
    let args = Arguments { positional: vec![last.into(), first.into()], keyword: Vec::new() };
    let call = Action::CallAttr { name: "get_salary".to_owned(), args };
    session.request(&root, &call, CallOptions::default())?;
    match answer(&mut session, &mut stream).await? {
        Boxed::Value(Value::Float(salary)) => Ok(salary),
        other => Err(format!("not a salary: {other:?}").into()),
    }
}

/// Carries bytes between the session and the stream until the call is answered.
async fn answer(
    session: &mut Session,
    stream: &mut ServiceStream,
) -> Result<Boxed, Box<dyn Error>> {
    let (mut outgoing, mut incoming) = (Vec::new(), vec![0; 4096]);
    loop {
        while session.poll_transmit(&mut outgoing) {
            stream.write_all(&outgoing).await?;
            outgoing.clear();
        }
        match session.poll_event() {
            Some(Event::Completed { outcome, .. }) => return Ok(outcome?),
            Some(Event::Closed { reason }) => return Err(reason.into()),
            // The server may ask for things as well; this client has nothing to offer.
            Some(Event::Request { id, .. }) => {
                session.raise(id, &Exception::builtin("AttributeError", "nothing here"))?;
            }
            Some(_) => {}
            None => match stream.read(&mut incoming).await? {
                0 => session.handle_eof(),
                len => session.handle_bytes(Instant::now(), &incoming[..len]),
            },
        }
    }
}
