//! The errors for wrong use of the attributes.

use proc_macro2::TokenStream;
use quote::quote;

use crate::block::{Block, Role};

fn check(role: Role, arguments: TokenStream, item: TokenStream, expected: &str) {
    match Block::parse(arguments, item, role) {
        Err(error) => assert_eq!(error.to_string(), expected),
        Ok(_) => panic!("this is taken: {expected}"),
    }
}

fn check_method(method: TokenStream, expected: &str) {
    check(Role::Object, quote!(), quote!(impl Thing { #method }), expected);
}

#[test]
fn blocks_that_cannot_be_exposed_are_refused() {
    let message = "this goes on an `impl` block without a trait";
    check(Role::Service, quote!(), quote!(impl Clone for Thing {}), message);
    let message = "unknown option; there are name, aliases, class";
    check(Role::Service, quote!(nmae = "X"), quote!(impl Thing {}), message);
    let message = "unknown option; there is class";
    check(Role::Object, quote!(name = "X"), quote!(impl Thing {}), message);
    let message = "only a service has connection hooks";
    let item = quote!(impl Thing { #[service(on_connect)] fn hello(&self) {} });
    check(Role::Object, quote!(), item, message);
    let message =
        "nothing is asked here, so there is no `&Context`; there are `&Connection` and `&Peer`";
    let item = quote!(impl Thing { fn on_connect(&self, context: &Context) {} });
    check(Role::Service, quote!(), item, message);
}

#[test]
fn methods_that_cannot_be_exposed_are_refused() {
    check_method(
        quote!(
            fn new() -> Self {}
        ),
        "an exposed method takes `&self`; keep others out with `#[service(skip)]` or in another \
         `impl` block",
    );
    check_method(
        quote!(
            fn change(&mut self) {}
        ),
        "an exposed method takes `&self`, as many calls may run at a time; what changes needs a \
         lock or an atomic",
    );
    check_method(
        quote!(
            fn any<T>(&self, value: T) {}
        ),
        "an exposed method has no generic types, as the peer cannot choose them",
    );
    check_method(
        quote!(
            fn change(&self, value: &mut i64) {}
        ),
        "an argument cannot be changed here",
    );
    check_method(
        quote!(
            fn pair(&self, (a, b): (i64, i64)) {}
        ),
        "an argument needs a name",
    );
    check_method(
        quote!(
            fn add(&self, a: Option<i64>, b: i64) {}
        ),
        "an argument without a default follows one that has a default",
    );
    check_method(
        quote!(
            #[service(len)]
            fn size(&self, unit: i64) -> usize {}
        ),
        "this takes no argument besides `&self` and who asks",
    );
    check_method(
        quote!(
            #[service(set)]
            fn set_size(&self) {}
        ),
        "this takes one argument besides `&self` and who asks",
    );
    check_method(
        quote!(
            fn __setitem__(&self, key: i64) {}
        ),
        "this takes 2 arguments besides `&self` and who asks",
    );
    check_method(
        quote!(
            #[service(get, set)]
            fn size(&self) {}
        ),
        "a method can be one thing only",
    );
    check_method(
        quote!(
            fn size(&self) {}
            #[service(name = "size")]
            fn length(&self) {}
        ),
        "there is another `size`",
    );
    check_method(
        quote!(
            fn add(&self, #[service(defualt = 1)] a: i64) {}
        ),
        "unknown option of an argument; there are default, name",
    );
    check_method(
        quote!(
            #[service(lenght)]
            fn size(&self) {}
        ),
        "unknown option; there are name, skip, get, set, del, on_connect, on_disconnect, call, len, \
         get_item, set_item, del_item, contains, iter, next, enter, exit, eq, ne, lt, le, gt, ge, \
         hash, str, repr, pickle",
    );
}

#[test]
fn only_what_is_meant_to_be_exposed_is() {
    let item = quote! {
        impl PayrollService {
            fn salary(&self) {}
            fn _private(&self) {}
            #[service(skip)]
            fn hidden(&self, #[service(default)] a: i64) {}
            #[service(name = "_odd")]
            fn odd(&self) {}
            fn __len__(&self) -> usize {}
            #[service(skip)]
            fn new() -> Self {}
            const LIMIT: usize = 3;
        }
    };
    let block = Block::parse(quote!(aliases("wages")), item, Role::Service);
    let block = block.unwrap_or_else(|error| panic!("{error}"));
    let names: Vec<_> = block.members.iter().map(|member| &*member.name).collect();
    assert_eq!(names, ["salary", "_odd", "__len__"]);
    assert_eq!(block.names, ["PAYROLL", "WAGES"]);
}

#[test]
fn errors_that_are_no_exception_are_refused() {
    let check = |input: TokenStream, expected: &str| {
        let derived = syn::parse2(input).and_then(|input| crate::exception::derive(&input));
        assert_eq!(derived.unwrap_err().to_string(), expected);
    };
    let message = "an error is one exception only";
    check(
        quote!(
            #[exception(KeyError, ValueError)]
            struct Bad;
        ),
        message,
    );
    check(
        quote!(
            #[exception(KeyError)]
            #[exception("a.B")]
            struct Bad;
        ),
        message,
    );
    let message = "`transparent` needs exactly one field";
    check(
        quote!(
            #[exception(transparent)]
            struct Bad;
        ),
        message,
    );
    check(
        quote!(
            enum Bad {
                #[exception(transparent)]
                Two(i64, i64),
            }
        ),
        message,
    );
    let message = "this takes the name of one of `rpyc_server::builtins`, the full name of another \
                   exception as text, or `transparent`";
    check(
        quote!(
            #[exception(builtins::KeyError)]
            struct Bad;
        ),
        message,
    );
    check(quote!(union Bad { a: i64 }), "a union cannot be an error");
}
