//! The `impl` block.

use proc_macro2::TokenStream;
use syn::parse::Parser as _;
use syn::{Error, ImplItem, ItemImpl, LitStr, Result};

use crate::member::{Kind, Member};
use crate::options::{self, BlockOptions};
use crate::param;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Service,
    Object,
}

pub(crate) struct Block {
    pub(crate) role: Role,
    /// The block without this macro's attributes.
    pub(crate) item: ItemImpl,
    /// The last name of the type.
    pub(crate) type_name: String,
    pub(crate) class: Option<LitStr>,
    /// The service's name and its aliases.
    pub(crate) names: Vec<String>,
    pub(crate) docs: Option<String>,
    pub(crate) members: Vec<Member>,
}

impl Block {
    pub(crate) fn parse(arguments: TokenStream, item: TokenStream, role: Role) -> Result<Self> {
        let mut options = BlockOptions::default();
        let is_service = role == Role::Service;
        syn::meta::parser(|meta| options.parse(&meta, is_service)).parse2(arguments)?;
        let mut item: ItemImpl = syn::parse2(item)?;
        if let Some((path, _)) = &item.trait_ {
            return Err(Error::new_spanned(path, "this goes on an `impl` block without a trait"));
        }
        let type_name = param::last(&item.self_ty)
            .map(ToString::to_string)
            .ok_or_else(|| Error::new_spanned(&item.self_ty, "this type has no name"))?;
        let mut members = Vec::new();
        let mut errors: Option<Error> = None;
        for item in &mut item.items {
            let ImplItem::Fn(method) = item else { continue };
            match Member::parse(method) {
                Ok(member) => members.extend(member),
                Err(error) => match &mut errors {
                    Some(errors) => errors.combine(error),
                    none => *none = Some(error),
                },
            }
        }
        if let Some(errors) = errors {
            return Err(errors);
        }
        let docs = options::docs(&item.attrs);
        let names = service_names(&options, &type_name);
        let block = Self { role, item, type_name, class: options.class, names, docs, members };
        block.check()?;
        Ok(block)
    }

    /// The members of one kind.
    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.kind == kind)
    }

    fn check(&self) -> Result<()> {
        for (index, member) in self.members.iter().enumerate() {
            let is_same = |other: &&Member| {
                other.name == member.name
                    && (other.kind == member.kind
                        || matches!(
                            (other.kind, member.kind),
                            (Kind::Method, Kind::Get | Kind::Set | Kind::Del)
                                | (Kind::Get | Kind::Set | Kind::Del, Kind::Method)
                        ))
            };
            if self.members.iter().take(index).any(|other| is_same(&other)) {
                let message = format!("there is another `{}`", member.name);
                return Err(Error::new_spanned(&member.ident, message));
            }
            let is_servers = matches!(member.kind, Kind::OnConnect | Kind::OnDisconnect);
            if is_servers && self.role == Role::Object {
                let message = "only a service has connection hooks";
                return Err(Error::new_spanned(&member.ident, message));
            }
        }
        Ok(())
    }
}

/// As Python's services do: the given name, or that of the type.
fn service_names(options: &BlockOptions, type_name: &str) -> Vec<String> {
    let name = options.name.as_ref().map_or_else(
        || {
            let name = type_name.to_uppercase();
            name.strip_suffix("SERVICE").filter(|name| !name.is_empty()).unwrap_or(&name).to_owned()
        },
        |name| name.value().to_uppercase(),
    );
    let aliases = options.aliases.iter().map(|alias| alias.value().to_uppercase());
    std::iter::once(name).chain(aliases).collect()
}
