//! The listed members: methods, and the names of all.

use proc_macro2::TokenStream;
use quote::quote;

use super::iterator::makes_iter;
use crate::block::{Block, Role};
use crate::member::Kind;

pub(super) fn class(block: &Block) -> TokenStream {
    if let Some(class) = &block.class {
        return quote!(::std::borrow::Cow::Borrowed(#class));
    }
    let name = &block.type_name;
    quote!(::std::borrow::Cow::Owned(
        ::std::format!("{}.{}", ::std::module_path!().replace("::", "."), #name)
    ))
}

/// The members that are listed as methods, with the server's own.
pub(super) fn methods(block: &Block) -> TokenStream {
    let mut listed: Vec<(&str, Option<&str>)> = block
        .members
        .iter()
        .filter(|member| match member.kind {
            Kind::Method => true,
            Kind::Special(special) => special.is_listed(),
            _ => false,
        })
        .map(|member| (&*member.name, member.docs.as_deref()))
        .collect();
    if makes_iter(block) {
        listed.push(("__iter__", None));
    }
    if block.role == Role::Service {
        listed.extend([("get_service_name", None), ("get_service_aliases", None)]);
    }
    let methods = listed.iter().map(|(name, docs)| {
        let docs = docs.map(|docs| quote!(.with_doc(#docs)));
        quote!(::rpyc_server::Method::new(#name)#docs)
    });
    quote! {
        fn methods(&self) -> ::std::borrow::Cow<'_, [::rpyc_server::Method]> {
            static METHODS: ::std::sync::LazyLock<::std::vec::Vec<::rpyc_server::Method>> =
                ::std::sync::LazyLock::new(|| ::std::vec![#(#methods),*]);
            ::std::borrow::Cow::Borrowed(&METHODS)
        }
    }
}

/// Python lists attributes among the rest.
pub(super) fn dir(block: &Block) -> TokenStream {
    let mut names: Vec<&str> = block
        .members
        .iter()
        .filter(|member| matches!(member.kind, Kind::Get | Kind::Set | Kind::Del))
        .map(|member| &*member.name)
        .collect();
    names.sort_unstable();
    names.dedup();
    quote! {
        async fn dir(
            &self,
            _: &::rpyc_server::Context,
        ) -> ::core::result::Result<::std::vec::Vec<::std::string::String>, ::rpyc_server::Exception>
        {
            let attributes: &[&str] = &[#(#names),*];
            ::core::result::Result::Ok(::rpyc_server::__private::dir(
                &::rpyc_server::Object::methods(self),
                attributes,
            ))
        }
    }
}
