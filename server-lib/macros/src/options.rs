//! What stands in the parentheses of the attributes.

use syn::meta::ParseNestedMeta;
use syn::{Attribute, Expr, ExprLit, Lit, LitStr, Meta, Result, Token};

use crate::special::Special;

/// The attribute of members and arguments, whatever the block's own is.
const HELPER: &str = "service";

/// Takes the attributes `#[service(..)]` out of `attrs` and calls `visit` with each option in them.
pub(crate) fn take(
    attrs: &mut Vec<Attribute>,
    mut visit: impl FnMut(&ParseNestedMeta<'_>) -> Result<()>,
) -> Result<()> {
    for attr in attrs.extract_if(.., |attr| attr.path().is_ident(HELPER)) {
        attr.parse_nested_meta(|meta| visit(&meta))?;
    }
    Ok(())
}

/// The documentation, without the space that begins each line of a comment.
pub(crate) fn docs(attrs: &[Attribute]) -> Option<String> {
    let lines: Vec<_> = attrs.iter().filter_map(doc_line).collect();
    let text = lines.join("\n").trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn doc_line(attr: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attr.meta else { return None };
    match &pair.value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if attr.path().is_ident("doc") => {
            let text = text.value();
            Some(text.strip_prefix(' ').unwrap_or(&text).to_owned())
        }
        _ => None,
    }
}

/// The text after `=`.
pub(crate) fn text(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    meta.value()?.parse()
}

/// What a method is marked as.
#[derive(Default)]
pub(crate) struct MemberOptions {
    pub(crate) name: Option<LitStr>,
    pub(crate) mark: Option<Mark>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Skip,
    Get,
    Set,
    Del,
    OnConnect,
    OnDisconnect,
    Special(Special),
}

impl MemberOptions {
    pub(crate) fn take(attrs: &mut Vec<Attribute>) -> Result<Self> {
        let mut options = Self::default();
        take(attrs, |meta| {
            if meta.path.is_ident("name") {
                options.name = Some(text(meta)?);
                return Ok(());
            }
            let Some(mark) = mark(meta) else {
                return Err(meta.error(format!(
                    "unknown option; there are name, skip, get, set, del, on_connect, on_disconnect, {}",
                    Special::flags()
                )));
            };
            if options.mark.replace(mark).is_some() {
                return Err(meta.error("a method can be one thing only"));
            }
            Ok(())
        })?;
        Ok(options)
    }
}

fn mark(meta: &ParseNestedMeta<'_>) -> Option<Mark> {
    let ident = meta.path.get_ident()?.to_string();
    Some(match &*ident {
        "skip" => Mark::Skip,
        "get" => Mark::Get,
        "set" => Mark::Set,
        "del" => Mark::Del,
        "on_connect" => Mark::OnConnect,
        "on_disconnect" => Mark::OnDisconnect,
        flag => Mark::Special(Special::from_flag(flag)?),
    })
}

/// What stands in the parentheses of the block's own attribute.
#[derive(Default)]
pub(crate) struct BlockOptions {
    pub(crate) name: Option<LitStr>,
    pub(crate) aliases: Vec<LitStr>,
    pub(crate) class: Option<LitStr>,
}

impl BlockOptions {
    pub(crate) fn parse(&mut self, meta: &ParseNestedMeta<'_>, is_service: bool) -> Result<()> {
        if meta.path.is_ident("class") {
            self.class = Some(text(meta)?);
        } else if is_service && meta.path.is_ident("name") {
            self.name = Some(text(meta)?);
        } else if is_service && meta.path.is_ident("aliases") {
            let content;
            syn::parenthesized!(content in meta.input);
            self.aliases = content.parse_terminated(parse_text, Token![,])?.into_iter().collect();
        } else if is_service {
            return Err(meta.error("unknown option; there are name, aliases, class"));
        } else {
            return Err(meta.error("unknown option; there is class"));
        }
        Ok(())
    }
}

fn parse_text(input: syn::parse::ParseStream<'_>) -> Result<LitStr> {
    input.parse()
}
