//! Comparisons.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::invoke::{argument, invoke, trait_method};
use crate::block::Block;
use crate::member::{Kind, Member, Shape};
use crate::special::Special;

/// All comparisons in one method; as in Python, a type that defines `==` has no hash by default.
pub(super) fn compare(block: &Block) -> Option<TokenStream> {
    let compared: Vec<_> = block
        .members
        .iter()
        .filter_map(|member| match member.kind {
            Kind::Special(special) => Some((member, special, special.comparison()?)),
            _ => None,
        })
        .collect();
    if compared.is_empty() {
        return None;
    }
    let has = |wanted| block.of(Kind::Special(wanted)).next().is_some();
    let arms = compared.iter().map(|(member, special, name)| {
        let name = format_ident!("{name}");
        let comparison = comparison(member);
        let inverse = (*special == Special::Eq && !has(Special::Ne)).then(|| {
            quote! {
                ::rpyc_server::Comparison::Ne => {
                    let is_equal: ::core::option::Option<bool> = #comparison;
                    ::core::result::Result::Ok(is_equal.map(|is_equal| !is_equal))
                }
            }
        });
        quote! {
            ::rpyc_server::Comparison::#name => { ::core::result::Result::Ok(#comparison) }
            #inverse
        }
    });
    let inputs = quote!(__comparison: ::rpyc_server::Comparison, __other: ::rpyc_server::Parcel);
    let header = trait_method("compare", inputs, quote!(::core::option::Option<bool>));
    let hash = (has(Special::Eq) && !has(Special::Hash)).then(|| {
        let header = trait_method("hash", quote!(), quote!(i64));
        let class =
            block.class.as_ref().map_or_else(|| block.type_name.clone(), |class| class.value());
        let message = format!("unhashable type: '{}'", class.rsplit('.').next().unwrap_or(&class));
        quote!(#header {
            ::core::result::Result::Err(::rpyc_server::Exception::builtin("TypeError", #message))
        })
    });
    Some(quote! {
        #header {
            match __comparison {
                #(#arms)*
                #[allow(unreachable_patterns)]
                _ => ::core::result::Result::Ok(
                    ::rpyc_server::__private::identity(__context, __comparison, &__other)
                ),
            }
        }
        #hash
    })
}

fn comparison(member: &Member) -> TokenStream {
    let name = argument(0);
    let take = member.values().map(|value| {
        let ty = &value.ty;
        if value.is_self {
            quote! {
                let ::rpyc_server::Parcel::Local(__local) = &__other else {
                    return ::core::result::Result::Ok(::core::option::Option::None);
                };
                let ::core::option::Option::Some(#name) = __local.downcast_ref::<Self>() else {
                    return ::core::result::Result::Ok(::core::option::Option::None);
                };
            }
        } else {
            quote! {
                let ::core::result::Result::Ok(#name) = __other.parse::<#ty>() else {
                    return ::core::result::Result::Ok(::core::option::Option::None);
                };
            }
        }
    });
    let arguments: Vec<_> = member
        .values()
        .map(
            |value| {
                if value.is_borrowed && !value.is_self { quote!(&#name) } else { quote!(#name) }
            },
        )
        .collect();
    let value = invoke(member, &arguments);
    let value = match member.returns.shape {
        Shape::Option => value,
        _ => quote!(::core::option::Option::Some(#value)),
    };
    quote!({ #(#take)* #value })
}
