//! The arguments of a method.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{
    Error, Expr, GenericArgument, Ident, Pat, PatType, PathArguments, Result, Type, TypePath,
};

use crate::options;

/// An argument of a method, `self` apart.
pub(crate) enum Param {
    /// `&Context`.
    Context,
    /// `&Connection`.
    Connection,
    /// `&Peer`.
    Peer,
    /// `Args`: all that no other argument takes.
    Rest,
    /// What the peer passes.
    Value(Value),
}

pub(crate) struct Value {
    pub(crate) ident: Ident,
    /// The name for the peer.
    pub(crate) name: String,
    /// What it is converted to.
    pub(crate) ty: TokenStream,
    pub(crate) is_borrowed: bool,
    /// Whether it is `&Self`, to be found among this side's objects.
    pub(crate) is_self: bool,
    /// Where its value comes from if it is not passed.
    pub(crate) default: Option<TokenStream>,
}

impl Param {
    pub(crate) fn parse(typed: &mut PatType) -> Result<Self> {
        let mut default = None;
        let mut name = None;
        options::take(&mut typed.attrs, |meta| {
            if meta.path.is_ident("default") {
                default = Some(if meta.input.peek(syn::Token![=]) {
                    let value: Expr = meta.value()?.parse()?;
                    value.into_token_stream()
                } else {
                    quote!(::core::default::Default::default())
                });
                Ok(())
            } else if meta.path.is_ident("name") {
                name = Some(options::text(meta)?.value());
                Ok(())
            } else {
                Err(meta.error("unknown option of an argument; there are default, name"))
            }
        })?;
        let (pointee, is_borrowed) = match &*typed.ty {
            Type::Reference(reference) if reference.mutability.is_some() => {
                return Err(Error::new_spanned(reference, "an argument cannot be changed here"));
            }
            Type::Reference(reference) => (&*reference.elem, true),
            owned => (owned, false),
        };
        match last(pointee) {
            Some(ident) if ident == "Context" && is_borrowed => return Ok(Self::Context),
            Some(ident) if ident == "Connection" && is_borrowed => return Ok(Self::Connection),
            Some(ident) if ident == "Peer" && is_borrowed => return Ok(Self::Peer),
            Some(ident) if ident == "Args" && !is_borrowed => return Ok(Self::Rest),
            _ => {}
        }
        let Pat::Ident(pattern) = &*typed.pat else {
            return Err(Error::new_spanned(&typed.pat, "an argument needs a name"));
        };
        let is_option = last(pointee).is_some_and(|ident| ident == "Option");
        if is_option && default.is_none() {
            default = Some(quote!(::core::option::Option::None));
        }
        let spelled = pattern.ident.to_string();
        // A leading underscore marks an unused argument, which does not concern the peer.
        let spelled = spelled.trim_start_matches("r#").trim_start_matches('_').to_owned();
        Ok(Self::Value(Value {
            ident: pattern.ident.clone(),
            name: name.unwrap_or(spelled),
            ty: if is_borrowed { owned(pointee) } else { pointee.into_token_stream() },
            is_borrowed,
            is_self: is_borrowed && last(pointee).is_some_and(|ident| ident == "Self"),
            default,
        }))
    }
}

/// The owned type behind a reference.
fn owned(pointee: &Type) -> TokenStream {
    match pointee {
        Type::Slice(slice) => {
            let element = &slice.elem;
            quote!(::std::vec::Vec<#element>)
        }
        other if last(other).is_some_and(|ident| ident == "str") => quote!(::std::string::String),
        other => other.into_token_stream(),
    }
}

/// The last name of a type's path.
pub(crate) fn last(ty: &Type) -> Option<&Ident> {
    match ty {
        Type::Path(TypePath { path, .. }) => path.segments.last().map(|segment| &segment.ident),
        Type::Group(group) => last(&group.elem),
        Type::Paren(paren) => last(&paren.elem),
        _ => None,
    }
}

/// The first argument of a type such as `Result<T, E>`.
pub(crate) fn first_argument(ty: &Type) -> Option<&Type> {
    let Type::Path(TypePath { path, .. }) = ty else { return None };
    let PathArguments::AngleBracketed(arguments) = &path.segments.last()?.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}
