//! The root that this side offers to a classic server that wants to use its client.

use std::borrow::Cow;

use rpyc_protocol::rpc::Exception;

use crate::{Args, Context, Local, Method, Object, Parcel, denied};

/// A root with the names that `ClassicService` looks for, and nothing behind them.
#[derive(Debug)]
pub(super) struct Polite;

/// Something without attributes.
#[derive(Debug)]
struct Empty;

impl Object for Empty {}

impl Object for Polite {
    fn methods(&self) -> Cow<'_, [Method]> {
        ["getmodule", "eval", "execute", "getconn"].map(Method::new).to_vec().into()
    }

    async fn get_attr(&self, _: &Context, name: &str) -> Result<Parcel, Exception> {
        match name {
            "namespace" => Ok(Local::new(Empty).into()),
            _ => Err(denied(name)),
        }
    }

    async fn call_attr(&self, _: &Context, name: &str, _: Args) -> Result<Parcel, Exception> {
        match name {
            "getmodule" => Ok(Local::new(Empty).into()),
            _ => Err(denied(name)),
        }
    }
}
