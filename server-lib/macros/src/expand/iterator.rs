//! Iterators, which are their own iterators.

use proc_macro2::TokenStream;
use quote::quote;

use super::invoke::trait_method;
use crate::block::Block;
use crate::member::Kind;
use crate::special::Special;

/// Whether an iterator needs a method that returns itself.
pub(super) fn makes_iter(block: &Block) -> bool {
    let has = |special| block.of(Kind::Special(special)).next().is_some();
    has(Special::Next) && !has(Special::Iter)
}

pub(super) fn own_iter(block: &Block) -> Option<TokenStream> {
    makes_iter(block).then(|| {
        let header = trait_method("iter", quote!(), quote!(::rpyc_server::Parcel));
        quote!(#header {
            ::core::result::Result::Ok(
                ::rpyc_server::Parcel::Local(::core::clone::Clone::clone(__context.this()))
            )
        })
    })
}
