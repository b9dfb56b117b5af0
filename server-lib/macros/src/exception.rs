//! Errors that are exceptions, by derivation.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Attribute, Data, DeriveInput, Error, Fields, Ident, LitStr, Path, Result, Token};

/// The attribute of the type and of its variants.
const HELPER: &str = "exception";

/// What an error is to Python.
enum Mark {
    /// One of Python's own, by its name.
    Builtin(Path),
    /// One by its full name.
    Named(LitStr),
    /// What its only field is.
    Transparent(Ident),
}

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let mark = Mark::of(&input.attrs)?;
    let raise = match &input.data {
        Data::Enum(data) => {
            let arms = data.variants.iter().map(|variant| {
                let name = &variant.ident;
                let own = Mark::of(&variant.attrs)?;
                Ok(match own.as_ref().or(mark.as_ref()) {
                    Some(Mark::Transparent(span)) => {
                        let field = only_field(&variant.fields, span)?;
                        quote!(Self::#name { #field: error } => ::rpyc_server::IntoException::into_exception(error),)
                    }
                    mark => {
                        let exception = exception(mark, &input.ident);
                        quote!(Self::#name { .. } => #exception,)
                    }
                })
            });
            let arms: Vec<_> = arms.collect::<Result<_>>()?;
            quote!(match self { #(#arms)* })
        }
        Data::Struct(data) => match &mark {
            Some(Mark::Transparent(span)) => {
                let field = only_field(&data.fields, span)?;
                quote!(::rpyc_server::IntoException::into_exception(self.#field))
            }
            mark => exception(mark.as_ref(), &input.ident),
        },
        Data::Union(_) => {
            return Err(Error::new_spanned(&input.ident, "a union cannot be an error"));
        }
    };
    let name = &input.ident;
    let (generics, arguments, conditions) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        #[allow(clippy::all, clippy::pedantic, clippy::nursery, clippy::restriction)]
        impl #generics ::rpyc_server::IntoException for #name #arguments #conditions {
            fn into_exception(self) -> ::rpyc_server::Exception {
                #raise
            }
        }
    })
}

/// Makes the exception of the message; by default, one of the type's own name.
fn exception(mark: Option<&Mark>, name: &Ident) -> TokenStream {
    match mark {
        Some(Mark::Builtin(path)) => {
            let span = path.segments.last().map_or_else(|| name.span(), |last| last.ident.span());
            quote_spanned! {span=>
                ::core::convert::Into::into(::rpyc_server::builtins::#path::new(::std::string::ToString::to_string(&self)))
            }
        }
        Some(Mark::Named(full)) => {
            let full = full.value();
            let (module, class) = full.rsplit_once('.').unwrap_or(("builtins", &full));
            quote!(::rpyc_server::Exception::new(
                #module,
                #class,
                ::std::vec![::std::string::ToString::to_string(&self).into()],
            ))
        }
        _ => {
            let class = name.to_string();
            quote! {
                ::rpyc_server::Exception::new(
                    ::std::module_path!().replace("::", "."),
                    #class,
                    ::std::vec![::std::string::ToString::to_string(&self).into()],
                )
            }
        }
    }
}

fn only_field(fields: &Fields, span: &Ident) -> Result<TokenStream> {
    let mut all = fields.members();
    match (all.next(), all.next()) {
        (Some(field), None) => Ok(quote!(#field)),
        _ => Err(Error::new_spanned(span, "`transparent` needs exactly one field")),
    }
}

impl Mark {
    fn of(attrs: &[Attribute]) -> Result<Option<Self>> {
        let mut mark = None;
        for attr in attrs.iter().filter(|attr| attr.path().is_ident(HELPER)) {
            let read = attr.parse_args_with(|input: syn::parse::ParseStream<'_>| {
                let mark = if input.peek(LitStr) {
                    Self::Named(input.parse()?)
                } else {
                    let path: Path = input.parse()?;
                    match path.get_ident() {
                        Some(ident) if ident == "transparent" => Self::Transparent(ident.clone()),
                        Some(_) => Self::Builtin(path),
                        None => {
                            let message = "this takes the name of one of `rpyc_server::builtins`, \
                                           the full name of another exception as text, or \
                                           `transparent`";
                            return Err(Error::new_spanned(path, message));
                        }
                    }
                };
                if input.peek(Token![,]) {
                    return Err(input.error("an error is one exception only"));
                }
                Ok(mark)
            })?;
            if mark.replace(read).is_some() {
                return Err(Error::new_spanned(attr, "an error is one exception only"));
            }
        }
        Ok(mark)
    }
}
