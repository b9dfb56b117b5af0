//! From a method of the trait to one of the block's, and back with its result.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::Ident;

use crate::block::Block;
use crate::member::{Member, Shape};
use crate::param::{Param, Value};

/// The first line of a method of the trait.
pub(super) fn trait_method(name: &str, inputs: TokenStream, output: TokenStream) -> TokenStream {
    let name = format_ident!("{name}");
    quote! {
        async fn #name(
            &self,
            __context: &::rpyc_server::Context,
            #inputs
        ) -> ::core::result::Result<#output, ::rpyc_server::Exception>
    }
}

pub(super) fn argument(index: usize) -> Ident {
    format_ident!("__argument_{index}")
}

/// How the method takes a value from a variable.
pub(super) fn borrow((index, value): (usize, &Value)) -> TokenStream {
    let name = argument(index);
    if value.is_borrowed { quote!(&#name) } else { quote!(#name) }
}

/// Converts what the trait's method was given to what the block's method takes.
pub(super) fn take_all(
    block: &Block,
    member: &Member,
    inputs: &[TokenStream],
) -> (TokenStream, Vec<TokenStream>) {
    let function = format!("{}.{}", block.type_name, member.name);
    let takes = member.values().zip(inputs).enumerate().map(|(index, (value, input))| {
        let (variable, ty, name) = (argument(index), &value.ty, &value.name);
        quote! {
            let #variable: #ty =
                ::rpyc_server::__private::convert(#input, #function, #name).await?;
        }
    });
    let arguments = member.values().enumerate().map(borrow).collect();
    (quote!(#(#takes)*), arguments)
}

/// Calls the block's method; gives its result or returns the exception.
pub(super) fn invoke(member: &Member, arguments: &[TokenStream]) -> TokenStream {
    invoke_with(member, arguments, &quote!(__context), &quote!(__context.connection()))
}

pub(super) fn invoke_with(
    member: &Member,
    arguments: &[TokenStream],
    context: &TokenStream,
    connection: &TokenStream,
) -> TokenStream {
    let ident = &member.ident;
    let mut values = arguments.iter();
    let arguments = member.params.iter().map(|param| match param {
        Param::Context => context.clone(),
        Param::Connection => connection.clone(),
        Param::Peer => quote!(#connection.peer()),
        Param::Rest => quote!(__rest),
        Param::Value(_) => values.next().cloned().unwrap_or_default(),
    });
    let wait = member.is_async.then(|| quote!(.await));
    let call = quote_spanned!(ident.span()=> Self::#ident(self, #(#arguments),*)#wait);
    if !member.returns.is_result {
        return call;
    }
    quote_spanned! { ident.span()=>
        match #call {
            ::core::result::Result::Ok(value) => value,
            ::core::result::Result::Err(error) => return ::core::result::Result::Err(
                ::rpyc_server::IntoException::into_exception(error)
            ),
        }
    }
}

/// Makes a parcel of a result.
pub(super) fn to_parcel(member: &Member, value: &TokenStream) -> TokenStream {
    match member.returns.shape {
        Shape::Unit => {
            quote!({ let () = #value; ::core::result::Result::Ok(::rpyc_server::Parcel::NONE) })
        }
        Shape::Bytes => {
            quote!(::core::result::Result::Ok(::rpyc_server::Parcel::bytes(#value)))
        }
        Shape::Option | Shape::Other => {
            quote_spanned! { member.ident.span()=>
                ::core::result::Result::Ok(::rpyc_server::Parcel::new(&#value)?)
            }
        }
    }
}
