//! Serves PAYROLL and announces it, for clients in Rust and in Python.
//!
//! ```text
//! cargo run --example payroll_server
//! cargo run --example payroll_client -- Mertz David    # or: python3 examples/python/payroll_client.py
//! ```
//!
//! `RPYC_REGISTRY=HOST:PORT` names the registry; without it, one nearby is looked for.
#![expect(clippy::indexing_slicing, reason = "what was read fits what it was read into")]

use std::error::Error;
use std::time::Instant;

use rpyc_protocol::brine::Value;
use rpyc_protocol::rpc::{Action, Boxed, Class, Config, Event, Exception, Request, Session};
use rpyc_server::{Announcer, Port, Registries, ServiceName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("0.0.0.0:0").await?;
    let addr = listener.local_addr()?;
    let names = [ServiceName::new("payroll")?];
    let announcer =
        Announcer::builder(names, Port::tcp(addr.port())?, Registries::from_env()?).build();
    let serving = async {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that breaks off harms nobody but itself.
            tokio::spawn(async { serve(stream).await.map_err(|error| error.to_string()) });
        }
    };
    let interrupted = tokio::signal::ctrl_c();
    announcer
        .run(async {
            tokio::select! { () = serving => {}, _ = interrupted => {} }
        })
        .await;
    Ok(())
}

async fn serve(mut stream: TcpStream) -> Result<(), Box<dyn Error>> {
    stream.set_nodelay(true)?;
    let mut session = Session::new(Instant::now(), Config::server());
    let (mut outgoing, mut incoming) = (Vec::new(), vec![0; 4096]);
    loop {
        match session.poll_event() {
            Some(Event::Request { id, request }) => match answer(&mut session, request) {
                Ok(result) => session.reply(id, &result)?,
                Err(exception) => session.raise(id, &exception)?,
            },
            Some(Event::Closed { .. }) => return Ok(()),
            Some(_) => {}
            None if session.poll_transmit(&mut outgoing) => {
                stream.write_all(&std::mem::take(&mut outgoing)).await?;
            }
            None => match stream.read(&mut incoming).await? {
                0 => session.handle_eof(),
                len => session.handle_bytes(Instant::now(), &incoming[..len]),
            },
        }
    }
}

/// Python asks for the method and then calls it; our own client does both at once.
fn answer(session: &mut Session, request: Request) -> Result<Boxed, Exception> {
    let action = match request {
        Request::Root => return offer(session, Class::new("payroll.Payroll", 1)),
        Request::Object { action, .. } => action,
    };
    match action {
        Action::GetAttr { name } if name == "get_salary" => {
            offer(session, Class::new("builtins.function", 2))
        }
        Action::CallAttr { name, .. } if name != "get_salary" => Err(denied()),
        Action::Call { args } | Action::CallAttr { args, .. } => match args.positional.as_slice() {
            [Boxed::Value(Value::Str(last)), _] if last == "Mertz" => Ok(4200.0.into()),
            _ => Err(Exception::builtin("KeyError", "nobody of that name works here")),
        },
        Action::Inspect => Ok(Boxed::methods([])),
        _ => Err(denied()),
    }
}

fn offer(session: &mut Session, class: Class) -> Result<Boxed, Exception> {
    session.export(&class).map(Boxed::from).map_err(|_too_many| denied())
}

fn denied() -> Exception {
    Exception::builtin("AttributeError", "there is get_salary and nothing else")
}
