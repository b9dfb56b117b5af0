//! Getters, setters and deleters.

use proc_macro2::TokenStream;
use quote::quote;

use super::invoke::{invoke, take_all, to_parcel, trait_method};
use crate::block::Block;
use crate::member::Kind;

/// Getters, setters and deleters.
pub(super) fn attributes(block: &Block) -> TokenStream {
    let get = block.of(Kind::Get).map(|member| {
        let (name, value) = (&member.name, to_parcel(member, &invoke(member, &[])));
        quote!(#name => #value,)
    });
    let set = block.of(Kind::Set).map(|member| {
        let name = &member.name;
        let (take, arguments) = take_all(block, member, &[quote!(__value)]);
        let invoke = invoke(member, &arguments);
        quote!(#name => { #take let _ = #invoke; ::core::result::Result::Ok(()) })
    });
    let del = block.of(Kind::Del).map(|member| {
        let (name, invoke) = (&member.name, invoke(member, &[]));
        quote!(#name => { let _ = #invoke; ::core::result::Result::Ok(()) })
    });
    let (get, set, del): (Vec<_>, Vec<_>, Vec<_>) = (get.collect(), set.collect(), del.collect());
    let unknown = quote!(_ => ::core::result::Result::Err(::rpyc_server::denied(__name)),);
    let getter = trait_method("get_attr", quote!(__name: &str), quote!(::rpyc_server::Parcel));
    let setter =
        trait_method("set_attr", quote!(__name: &str, __value: ::rpyc_server::Parcel), quote!(()));
    let deleter = trait_method("del_attr", quote!(__name: &str), quote!(()));
    let getters = (!get.is_empty()).then(|| quote!(#getter { match __name { #(#get)* #unknown } }));
    let setters = (!set.is_empty()).then(|| quote!(#setter { match __name { #(#set)* #unknown } }));
    let deleters =
        (!del.is_empty()).then(|| quote!(#deleter { match __name { #(#del)* #unknown } }));
    quote!(#getters #setters #deleters)
}
