//! From what a peer asks to the method that answers it.

use rpyc_protocol::brine::Value;
use rpyc_protocol::rpc::{Action, Arguments, Boxed, Comparison, Exception};

use super::method::BoundMethod;
use super::{Context, Local, Object, denied};
use crate::{Args, Parcel};

/// The most items in one answer to BUFFITER. A peer that wants more asks again.
const MOST_BUFFERED: usize = 10_000;

/// The prefix by which Python's services mark what they expose; clients may use it or not.
const EXPOSED: &str = "exposed_";

/// Performs a request to `object`.
pub(super) async fn serve<T: Object>(
    object: &T,
    context: &Context,
    action: Action<Parcel>,
) -> Result<Parcel, Exception> {
    match action {
        Action::GetAttr { name } => get_attr(object, context, exposed(&name)).await,
        Action::DelAttr { name } => {
            object.del_attr(context, exposed(&name)).await.map(Parcel::from)
        }
        Action::SetAttr { name, value } => {
            object.set_attr(context, exposed(&name), value).await.map(Parcel::from)
        }
        Action::Call { args } => object.call(context, args.into()).await,
        Action::CallAttr { name, args } => {
            call_attr(object, context, exposed(&name), args.into()).await
        }
        Action::Repr => object.repr(context).await.map(Parcel::from),
        Action::Str => object.str(context).await.map(Parcel::from),
        Action::Cmp { other, comparison } => compare(object, context, comparison, other).await,
        Action::Hash => object.hash(context).await.map(Parcel::from),
        Action::Dir => {
            let names = object.dir(context).await?;
            Ok(value(Boxed::names(names.iter().map(String::as_str))))
        }
        Action::Pickle { protocol } => object.pickle(context, protocol).await.map(Parcel::bytes),
        Action::Inspect => {
            let methods = object.methods();
            Ok(value(Boxed::methods(methods.iter().map(|method| (method.name(), method.doc())))))
        }
        Action::BuffIter { count } => take(object, context, count.min(MOST_BUFFERED)).await,
        Action::OldSlicing { name, start, stop, args, .. } => {
            let slice = match (start, stop) {
                (Parcel::Value(start), Parcel::Value(stop)) => {
                    Parcel::Value(Value::Slice(Box::new([start, stop, Value::None])))
                }
                _ => Parcel::NONE,
            };
            let positional = std::iter::once(slice).chain(args).collect();
            let args = Arguments { positional, keyword: Vec::new() };
            call_attr(object, context, exposed(&name), args.into()).await
        }
        Action::CtxExit { exception } => exit(object, context, exception).await,
        Action::InstanceCheck { .. } => Ok(false.into()),
    }
}

/// The name without the mark of Python's services.
fn exposed(name: &str) -> &str {
    name.strip_prefix(EXPOSED).unwrap_or(name)
}

/// A box that is known to be a value.
pub(super) fn value(boxed: Boxed) -> Parcel {
    Parcel::Value(boxed.into_value().unwrap_or(Value::None))
}

async fn get_attr<T: Object>(
    object: &T,
    context: &Context,
    name: &str,
) -> Result<Parcel, Exception> {
    let method = object.methods().iter().find(|method| method.name() == name).cloned();
    if let Some(method) = method {
        let bound = BoundMethod { object: context.this().clone(), method };
        return Ok(Local::new(bound).into());
    }
    match name {
        "__doc__" => Ok(object.doc().map_or(Parcel::NONE, |doc| Parcel::from(&*doc))),
        _ => object.get_attr(context, name).await,
    }
}

async fn call_attr<T: Object>(
    object: &T,
    context: &Context,
    name: &str,
    args: Args,
) -> Result<Parcel, Exception> {
    match name {
        "__call__" => object.call(context, args).await,
        "__iter__" => {
            args.parse::<()>()?;
            object.iter(context).await
        }
        "__next__" => object.next(context).await?.ok_or_else(Exception::stop_iteration),
        "__len__" => {
            let len = object.len(context).await?;
            Ok(i64::try_from(len).unwrap_or(i64::MAX).into())
        }
        "__getitem__" => {
            let [key] = exactly(name, args)?;
            object.get_item(context, key).await
        }
        "__setitem__" => {
            let [key, value] = exactly(name, args)?;
            object.set_item(context, key, value).await.map(Parcel::from)
        }
        "__delitem__" => {
            let [key] = exactly(name, args)?;
            object.del_item(context, key).await.map(Parcel::from)
        }
        "__contains__" => {
            let [item] = exactly(name, args)?;
            object.contains(context, item).await.map(Parcel::from)
        }
        "__enter__" => object.enter(context).await,
        "__exit__" => {
            let exception = args.into_parts().0.into_iter().next().unwrap_or(Parcel::NONE);
            exit(object, context, exception).await
        }
        "__str__" => object.str(context).await.map(Parcel::from),
        "__repr__" => object.repr(context).await.map(Parcel::from),
        "__hash__" => object.hash(context).await.map(Parcel::from),
        "__dir__" => {
            let names = object.dir(context).await?;
            Ok(value(Boxed::names(names.iter().map(String::as_str))))
        }
        "__eq__" | "__ne__" | "__lt__" | "__le__" | "__gt__" | "__ge__" => {
            let comparison = comparison(name)?;
            let [other] = exactly(name, args)?;
            compare(object, context, comparison, other).await
        }
        _ => object.call_attr(context, name, args).await,
    }
}

fn comparison(name: &str) -> Result<Comparison, Exception> {
    use Comparison::{Eq, Ge, Gt, Le, Lt, Ne};
    let all = [Eq, Ne, Lt, Le, Gt, Ge];
    all.into_iter().find(|comparison| comparison.method() == name).ok_or_else(|| denied(name))
}

async fn compare<T: Object>(
    object: &T,
    context: &Context,
    comparison: Comparison,
    other: Parcel,
) -> Result<Parcel, Exception> {
    let answer = object.compare(context, comparison, other).await?;
    Ok(Parcel::Value(answer.map_or(Value::NotImplemented, Value::Bool)))
}

async fn exit<T: Object>(
    object: &T,
    context: &Context,
    exception: Parcel,
) -> Result<Parcel, Exception> {
    let exception = (!exception.is_none()).then_some(exception);
    object.exit(context, exception).await.map(Parcel::from)
}

/// Takes items of an iterator, or of an iterator over whatever can be iterated over.
async fn take<T: Object>(object: &T, context: &Context, count: usize) -> Result<Parcel, Exception> {
    let is_iterator = object.methods().iter().any(|method| method.name() == "__next__");
    let mut items = Vec::new();
    if is_iterator {
        while items.len() < count
            && let Some(item) = object.next(context).await?
        {
            items.push(item);
        }
        return Ok(Parcel::tuple(items));
    }
    match object.iter(context).await? {
        Parcel::Local(iterator) if !iterator.is_same(context.this()) => {
            iterator.serve(context.connection(), Action::BuffIter { count }).await
        }
        Parcel::Remote(iterator) => Ok(iterator.take_items(count).await?),
        _ => Err(denied("__next__")),
    }
}

/// Takes exactly so many arguments.
fn exactly<const N: usize>(name: &str, args: Args) -> Result<[Parcel; N], Exception> {
    let (positional, keyword) = args.into_parts();
    let given = positional.len() + keyword.len();
    <[Parcel; N]>::try_from(positional).ok().filter(|_| keyword.is_empty()).ok_or_else(|| {
        Exception::builtin("TypeError", format!("{name}() takes {N} arguments, {given} were given"))
    })
}
