//! From the block to the traits' implementations.

mod attribute;
mod compare;
mod invoke;
mod iterator;
mod listing;
mod method;
mod service;
mod special;

use proc_macro2::TokenStream;
use quote::quote;

use crate::block::{Block, Role};
use crate::member::Kind;

/// The block itself, and what makes an object of its type.
pub(crate) fn expand(block: &Block) -> TokenStream {
    let item = &block.item;
    let object = object(block);
    let service = (block.role == Role::Service).then(|| service::service(block));
    quote! {
        #item
        #object
        #service
    }
}

fn object(block: &Block) -> TokenStream {
    let (generics, _, conditions) = block.item.generics.split_for_impl();
    let this = &block.item.self_ty;
    let class = listing::class(block);
    let doc = block.docs.as_ref().map(|docs| {
        quote! {
            fn doc(&self) -> ::core::option::Option<::std::borrow::Cow<'_, str>> {
                ::core::option::Option::Some(::std::borrow::Cow::Borrowed(#docs))
            }
        }
    });
    let methods = listing::methods(block);
    let attributes = attribute::attributes(block);
    let call_attr = method::call_attr(block);
    let specials = block.members.iter().filter_map(|member| match member.kind {
        Kind::Special(special) => special::special_method(block, member, special),
        _ => None,
    });
    let (compare, iter, dir) =
        (compare::compare(block), iterator::own_iter(block), listing::dir(block));
    quote! {
        #[automatically_derived]
        #[allow(clippy::all, clippy::pedantic, clippy::nursery, clippy::restriction)]
        impl #generics ::rpyc_server::Object for #this #conditions {
            fn class(&self) -> ::std::borrow::Cow<'_, str> {
                #class
            }
            #doc
            #methods
            #attributes
            #call_attr
            #(#specials)*
            #compare
            #iter
            #dir
        }
    }
}
