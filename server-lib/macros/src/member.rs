//! One method of the block.

use syn::{Error, FnArg, Ident, ImplItemFn, ReceiverKind, Result, ReturnType, Type};

use crate::options::{self, Mark, MemberOptions};
use crate::param::{self, Param};
use crate::special::Special;

/// A method that the peer may use, or that the server calls.
pub(crate) struct Member {
    pub(crate) ident: Ident,
    pub(crate) kind: Kind,
    /// What the peer calls it.
    pub(crate) name: String,
    pub(crate) docs: Option<String>,
    pub(crate) is_async: bool,
    pub(crate) params: Vec<Param>,
    pub(crate) returns: Returns,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Method,
    Get,
    Set,
    Del,
    OnConnect,
    OnDisconnect,
    Special(Special),
}

/// The facts that the spelling of a result shows.
pub(crate) struct Returns {
    pub(crate) is_result: bool,
    pub(crate) shape: Shape,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Unit,
    /// `Vec<u8>`.
    Bytes,
    /// `Option<..>`.
    Option,
    Other,
}

impl Member {
    /// Reads the method and takes this macro's attributes out of it; none if it is not exposed.
    pub(crate) fn parse(method: &mut ImplItemFn) -> Result<Option<Self>> {
        let options = MemberOptions::take(&mut method.attrs)?;
        let ident = method.sig.ident.clone();
        let spelled = ident.to_string().trim_start_matches("r#").to_owned();
        let is_special = spelled.starts_with("__") && spelled.ends_with("__");
        let kind = match options.mark {
            Some(Mark::Skip) => return Self::skip(method),
            Some(Mark::Get) => Kind::Get,
            Some(Mark::Set) => Kind::Set,
            Some(Mark::Del) => Kind::Del,
            Some(Mark::OnConnect) => Kind::OnConnect,
            Some(Mark::OnDisconnect) => Kind::OnDisconnect,
            Some(Mark::Special(special)) => Kind::Special(special),
            // As in Python, these names are hooks and never offered.
            None if spelled == "on_connect" && options.name.is_none() => Kind::OnConnect,
            None if spelled == "on_disconnect" && options.name.is_none() => Kind::OnDisconnect,
            None => match Special::from_name(&spelled) {
                Some(special) => Kind::Special(special),
                // As in Python, a leading underscore makes it private.
                None if spelled.starts_with('_') && !is_special && options.name.is_none() => {
                    return Self::skip(method);
                }
                None => Kind::Method,
            },
        };
        check_signature(method)?;
        let prefix = match kind {
            Kind::Set => "set_",
            Kind::Del => "del_",
            _ => "",
        };
        let name = match (&options.name, kind) {
            (_, Kind::Special(special)) => special.name().to_owned(),
            (Some(name), _) => name.value(),
            (None, _) => spelled.strip_prefix(prefix).unwrap_or(&spelled).to_owned(),
        };
        let params = method.sig.inputs.iter_mut().filter_map(|input| match input {
            FnArg::Typed(typed) => Some(Param::parse(typed)),
            FnArg::Receiver(_) => None,
        });
        let member = Self {
            ident,
            kind,
            name,
            docs: options::docs(&method.attrs),
            is_async: method.sig.asyncness.is_some(),
            params: params.collect::<Result<_>>()?,
            returns: Returns::parse(&method.sig.output),
        };
        member.check()?;
        Ok(Some(member))
    }

    /// Leaves a method unchanged, except for the options of its arguments, which only this macro
    /// knows.
    fn skip(method: &mut ImplItemFn) -> Result<Option<Self>> {
        for input in &mut method.sig.inputs {
            if let FnArg::Typed(typed) = input {
                options::take(&mut typed.attrs, |_| Ok(()))?;
            }
        }
        Ok(None)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &param::Value> {
        self.params.iter().filter_map(|param| match param {
            Param::Value(value) => Some(value),
            _ => None,
        })
    }

    pub(crate) fn takes_rest(&self) -> bool {
        self.params.iter().any(|param| matches!(param, Param::Rest))
    }

    fn check(&self) -> Result<()> {
        let is_hook = matches!(self.kind, Kind::OnConnect | Kind::OnDisconnect);
        if is_hook && self.params.iter().any(|param| matches!(param, Param::Context)) {
            let message = "nothing is asked here, so there is no `&Context`; there are `&Connection` \
                           and `&Peer`";
            return Err(Error::new_spanned(&self.ident, message));
        }
        let arity = match self.kind {
            Kind::Method => None,
            Kind::Set => Some(1..=1),
            Kind::Get | Kind::Del | Kind::OnConnect | Kind::OnDisconnect => Some(0..=0),
            Kind::Special(special) => special.arity(),
        };
        if let Some(arity) = arity {
            let count = self.values().count();
            if !arity.contains(&count) || self.takes_rest() {
                let expected = match (arity.start(), arity.end()) {
                    (0, 0) => "no argument".to_owned(),
                    (1, 1) => "one argument".to_owned(),
                    (least, most) if least == most => format!("{most} arguments"),
                    (_, most) => format!("at most {most} arguments"),
                };
                let message = format!("this takes {expected} besides `&self` and who asks");
                return Err(Error::new_spanned(&self.ident, message));
            }
        }
        let mut has_default = false;
        for value in self.values() {
            if has_default && value.default.is_none() {
                let message = "an argument without a default follows one that has a default";
                return Err(Error::new_spanned(&value.ident, message));
            }
            has_default = value.default.is_some();
        }
        Ok(())
    }
}

fn check_signature(method: &ImplItemFn) -> Result<()> {
    let sig = &method.sig;
    let receiver = sig.receiver().ok_or_else(|| {
        let message = "an exposed method takes `&self`; keep others out with `#[service(skip)]` or \
                       in another `impl` block";
        Error::new_spanned(&sig.ident, message)
    })?;
    if !matches!(receiver.kind, ReceiverKind::Reference(_, _, None)) {
        let message = "an exposed method takes `&self`, as many calls may run at a time; what \
                       changes needs a lock or an atomic";
        return Err(Error::new_spanned(receiver, message));
    }
    if let Some(param) = sig.generics.type_params().next() {
        let message = "an exposed method has no generic types, as the peer cannot choose them";
        return Err(Error::new_spanned(param, message));
    }
    Ok(())
}

impl Returns {
    fn parse(output: &ReturnType) -> Self {
        let ReturnType::Type(_, ty) = output else {
            return Self { is_result: false, shape: Shape::Unit };
        };
        let is_result = param::last(ty).is_some_and(|ident| ident == "Result");
        let success = if is_result { param::first_argument(ty) } else { Some(&**ty) };
        Self { is_result, shape: success.map_or(Shape::Other, Shape::of) }
    }
}

impl Shape {
    fn of(ty: &Type) -> Self {
        if let Type::Tuple(tuple) = ty
            && tuple.elems.is_empty()
        {
            return Self::Unit;
        }
        let Some(name) = param::last(ty) else { return Self::Other };
        let is_of_bytes = || {
            let element = param::first_argument(ty).and_then(param::last);
            element.is_some_and(|element| element == "u8")
        };
        if name == "Option" {
            Self::Option
        } else if name == "Vec" && is_of_bytes() {
            Self::Bytes
        } else {
            Self::Other
        }
    }
}
