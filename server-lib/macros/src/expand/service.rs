//! What only a service has.

use proc_macro2::TokenStream;
use quote::quote;

use super::invoke::invoke_with;
use crate::block::Block;
use crate::member::Kind;

pub(super) fn service(block: &Block) -> TokenStream {
    let (generics, _, conditions) = block.item.generics.split_for_impl();
    let this = &block.item.self_ty;
    let names = &block.names;
    let on_connect = block.of(Kind::OnConnect).map(|member| {
        let invoke = invoke_with(member, &[], &quote!(__connection), &quote!(__connection));
        quote! {
            async fn on_connect(
                &self,
                __connection: &::rpyc_server::Connection,
            ) -> ::core::result::Result<(), ::rpyc_server::Exception> {
                let _ = #invoke;
                ::core::result::Result::Ok(())
            }
        }
    });
    let on_disconnect = block.of(Kind::OnDisconnect).map(|member| {
        let invoke = invoke_with(member, &[], &quote!(__connection), &quote!(__connection));
        quote! {
            async fn on_disconnect(&self, __connection: &::rpyc_server::Connection) {
                let _ = async {
                    let _ = #invoke;
                    ::core::result::Result::<(), ::rpyc_server::Exception>::Ok(())
                }.await;
            }
        }
    });
    quote! {
        #[automatically_derived]
        #[allow(clippy::all, clippy::pedantic, clippy::nursery, clippy::restriction)]
        impl #generics ::rpyc_server::Service for #this #conditions {
            const NAMES: &'static [&'static str] = &[#(#names),*];
            #(#on_connect)*
            #(#on_disconnect)*
        }
    }
}
