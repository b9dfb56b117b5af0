//! The attributes of `rpyc-server`, where they are documented.

#![expect(missing_docs, reason = "the documentation stands where the attributes are exported")]

mod block;
mod exception;
mod expand;
mod member;
mod options;
mod param;
mod special;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

use block::{Block, Role};
use syn::Error;

#[proc_macro_attribute]
pub fn service(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(arguments, item, Role::Service)
}

#[proc_macro_attribute]
pub fn object(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(arguments, item, Role::Object)
}

#[proc_macro_derive(IntoException, attributes(exception))]
pub fn into_exception(input: TokenStream) -> TokenStream {
    let derived = syn::parse(input).and_then(|input| exception::derive(&input));
    derived.unwrap_or_else(Error::into_compile_error).into()
}

fn expand(arguments: TokenStream, item: TokenStream, role: Role) -> TokenStream {
    let block = Block::parse(arguments.into(), item.into(), role);
    block.map_or_else(|error| error.into_compile_error(), |block| expand::expand(&block)).into()
}
