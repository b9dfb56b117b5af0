//! From the block to the traits' implementations.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::Ident;

use crate::block::{Block, Role};
use crate::member::{Kind, Member, Shape};
use crate::param::{Param, Value};
use crate::special::Special;

/// The block itself, and what makes an object of its type.
pub(crate) fn expand(block: &Block) -> TokenStream {
    let item = &block.item;
    let object = object(block);
    let service = (block.role == Role::Service).then(|| service(block));
    quote! {
        #item
        #object
        #service
    }
}

fn object(block: &Block) -> TokenStream {
    let (generics, _, conditions) = block.item.generics.split_for_impl();
    let this = &block.item.self_ty;
    let class = class(block);
    let doc = block.docs.as_ref().map(|docs| {
        quote! {
            fn doc(&self) -> ::core::option::Option<::std::borrow::Cow<'_, str>> {
                ::core::option::Option::Some(::std::borrow::Cow::Borrowed(#docs))
            }
        }
    });
    let methods = methods(block);
    let attributes = attributes(block);
    let call_attr = call_attr(block);
    let specials = block.members.iter().filter_map(|member| match member.kind {
        Kind::Special(special) => special_method(block, member, special),
        _ => None,
    });
    let (compare, iter, dir) = (compare(block), own_iter(block), dir(block));
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

fn class(block: &Block) -> TokenStream {
    if let Some(class) = &block.class {
        return quote!(::std::borrow::Cow::Borrowed(#class));
    }
    let name = &block.type_name;
    quote!(::std::borrow::Cow::Owned(
        ::std::format!("{}.{}", ::std::module_path!().replace("::", "."), #name)
    ))
}

/// The members that are told as methods, with the server's own.
fn methods(block: &Block) -> TokenStream {
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
fn dir(block: &Block) -> TokenStream {
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

/// Getters, setters and deleters.
fn attributes(block: &Block) -> TokenStream {
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

fn call_attr(block: &Block) -> TokenStream {
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
fn call(block: &Block, member: &Member) -> TokenStream {
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

fn special_method(block: &Block, member: &Member, special: Special) -> Option<TokenStream> {
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

/// All comparisons in one method; and as in Python, what defines `==` has no hash of its own.
fn compare(block: &Block) -> Option<TokenStream> {
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

/// Whether an iterator needs to be told that it is its own iterator.
fn makes_iter(block: &Block) -> bool {
    let has = |special| block.of(Kind::Special(special)).next().is_some();
    has(Special::Next) && !has(Special::Iter)
}

fn own_iter(block: &Block) -> Option<TokenStream> {
    makes_iter(block).then(|| {
        let header = trait_method("iter", quote!(), quote!(::rpyc_server::Parcel));
        quote!(#header {
            ::core::result::Result::Ok(
                ::rpyc_server::Parcel::Local(::core::clone::Clone::clone(__context.this()))
            )
        })
    })
}

fn service(block: &Block) -> TokenStream {
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

/// The first line of a method of the trait.
fn trait_method(name: &str, inputs: TokenStream, output: TokenStream) -> TokenStream {
    let name = format_ident!("{name}");
    quote! {
        async fn #name(
            &self,
            __context: &::rpyc_server::Context,
            #inputs
        ) -> ::core::result::Result<#output, ::rpyc_server::Exception>
    }
}

fn argument(index: usize) -> Ident {
    format_ident!("__argument_{index}")
}

/// How the method takes what is held in a variable.
fn borrow((index, value): (usize, &Value)) -> TokenStream {
    let name = argument(index);
    if value.is_borrowed { quote!(&#name) } else { quote!(#name) }
}

/// Converts what the trait's method was given to what the block's method takes.
fn take_all(
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
fn invoke(member: &Member, arguments: &[TokenStream]) -> TokenStream {
    invoke_with(member, arguments, &quote!(__context), &quote!(__context.connection()))
}

fn invoke_with(
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
fn to_parcel(member: &Member, value: &TokenStream) -> TokenStream {
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
