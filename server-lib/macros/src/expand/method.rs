//! Calls of methods.

use proc_macro2::TokenStream;
use quote::quote;

use super::invoke::{argument, borrow, invoke, to_parcel, trait_method};
use crate::block::{Block, Role};
use crate::member::{Kind, Member};

pub(super) fn call_attr(block: &Block) -> TokenStream {
    let arms = block.of(Kind::Method).map(|member| {
        let (name, body) = (&member.name, call(block, member));
        quote!(#name => { #body })
    });
    let servers = (block.role == Role::Service).then(|| {
        quote! {
            "get_service_name" => ::rpyc_server::__private::service_name::<Self>(__args),
            "get_service_aliases" => ::rpyc_server::__private::service_aliases::<Self>(__args),
        }
    });
    let header = trait_method(
        "call_attr",
        quote!(__name: &str, __args: ::rpyc_server::Args),
        quote!(::rpyc_server::Parcel),
    );
    quote! {
        #header {
            match __name {
                #(#arms)*
                #servers
                _ => {
                    let attribute = ::rpyc_server::Object::get_attr(self, __context, __name).await?;
                    __context.call(&attribute, __args).await
                }
            }
        }
    }
}

/// Binds the arguments as Python does, converts them, calls, and converts the result.
pub(super) fn call(block: &Block, member: &Member) -> TokenStream {
    let function = format!("{}.{}", block.type_name, member.name);
    let takes_rest = member.takes_rest();
    let parameters = member.values().map(|value| {
        let (name, is_required) = (&value.name, value.default.is_none());
        quote!(::rpyc_server::__private::Parameter { name: #name, is_required: #is_required })
    });
    let slots = member.values().enumerate().map(|(index, value)| {
        let (name, ty) = (argument(index), &value.ty);
        match &value.default {
            Some(default) => {
                quote!(let #name: #ty = __bound.take_or(#index, || #default).await?;)
            }
            None => quote!(let #name: #ty = __bound.take(#index).await?;),
        }
    });
    let rest = takes_rest.then(|| quote!(let __rest = __bound.into_rest();));
    let arguments: Vec<_> = member.values().enumerate().map(borrow).collect();
    let result = to_parcel(member, &invoke(member, &arguments));
    quote! {
        const SIGNATURE: ::rpyc_server::__private::Signature =
            ::rpyc_server::__private::Signature {
                function: #function,
                parameters: &[#(#parameters),*],
                takes_rest: #takes_rest,
            };
        #[allow(unused_mut, unused_variables)]
        let mut __bound = SIGNATURE.bind(__args)?;
        #(#slots)*
        #rest
        #result
    }
}
