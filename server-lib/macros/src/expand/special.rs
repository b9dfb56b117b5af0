//! Python's special methods, for each of which the trait has a method.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::invoke::{invoke, take_all, to_parcel, trait_method};
use super::method::call;
use crate::block::Block;
use crate::member::{Member, Shape};
use crate::special::Special;

pub(super) fn special_method(
    block: &Block,
    member: &Member,
    special: Special,
) -> Option<TokenStream> {
    let parcel = || quote!(::rpyc_server::Parcel);
    let simple = |name, inputs: &[&str], output: TokenStream, finish: &dyn Fn(TokenStream) -> _| {
        let inputs: Vec<_> = inputs.iter().map(|input| format_ident!("__{input}")).collect();
        let header = trait_method(name, quote!(#(#inputs: ::rpyc_server::Parcel),*), output);
        let inputs: Vec<_> = inputs.iter().map(|input| quote!(#input)).collect();
        let (take, arguments) = take_all(block, member, &inputs);
        let body: TokenStream = finish(invoke(member, &arguments));
        Some(quote!(#header { #take #body }))
    };
    let ok = |value: TokenStream| quote!(::core::result::Result::Ok(#value));
    let to_parcel = |value| to_parcel(member, &value);
    let done = |value| quote!({ let _ = #value; ::core::result::Result::Ok(()) });
    match special {
        Special::Call => {
            let args = quote!(__args: ::rpyc_server::Args);
            let header = trait_method("call", args, parcel());
            let body = call(block, member);
            Some(quote!(#header { #body }))
        }
        Special::Len => simple(
            "len",
            &[],
            quote!(usize),
            &|value| quote!(::rpyc_server::__private::len(#value)),
        ),
        Special::GetItem => simple("get_item", &["key"], parcel(), &to_parcel),
        Special::SetItem => simple("set_item", &["key", "value"], quote!(()), &done),
        Special::DelItem => simple("del_item", &["key"], quote!(()), &done),
        Special::Contains => simple("contains", &["item"], quote!(bool), &ok),
        Special::Iter => simple("iter", &[], parcel(), &|value| {
            let parcel = to_parcel(value);
            quote!(::rpyc_server::__private::iterator(#parcel))
        }),
        Special::Next => {
            let output = quote!(::core::option::Option<::rpyc_server::Parcel>);
            simple("next", &[], output, &|value| {
                quote!(match #value {
                    ::core::option::Option::Some(item) => ::core::result::Result::Ok(
                        ::core::option::Option::Some(::rpyc_server::Parcel::new(&item)?)
                    ),
                    ::core::option::Option::None => {
                        ::core::result::Result::Ok(::core::option::Option::None)
                    }
                })
            })
        }
        Special::Enter => simple("enter", &[], parcel(), &to_parcel),
        Special::Exit => {
            let input = quote!(__exception: ::core::option::Option<::rpyc_server::Parcel>);
            let header = trait_method("exit", input, quote!(bool));
            let exception = quote!(__exception.unwrap_or(::rpyc_server::Parcel::NONE));
            let (take, arguments) = take_all(block, member, &[exception]);
            let value = invoke(member, &arguments);
            let swallows = match member.returns.shape {
                Shape::Unit => quote!({ let () = #value; false }),
                _ => value,
            };
            Some(quote!(#header { #take ::core::result::Result::Ok(#swallows) }))
        }
        Special::Hash => simple(
            "hash",
            &[],
            quote!(i64),
            &|value| quote!(::core::result::Result::Ok(::rpyc_server::__private::ToHash::to_hash(#value))),
        ),
        Special::Str | Special::Repr => {
            let name = if special == Special::Str { "str" } else { "repr" };
            simple(name, &[], quote!(::std::string::String), &|value| {
                ok(quote!(::core::convert::Into::into(#value)))
            })
        }
        Special::Pickle => {
            let output = quote!(::std::vec::Vec<u8>);
            let header = trait_method("pickle", quote!(__protocol: i64), output);
            let parcel = to_parcel(invoke(member, &[]));
            Some(quote!(#header {
                let content: ::core::result::Result<::rpyc_server::Parcel, ::rpyc_server::Exception> =
                    #parcel;
                ::rpyc_server::__private::pickle(content?, __protocol)
            }))
        }
        Special::Eq | Special::Ne | Special::Lt | Special::Le | Special::Gt | Special::Ge => None,
    }
}
