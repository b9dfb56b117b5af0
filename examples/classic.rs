//! A remote Python interpreter, used from here.
//!
//! ```text
//! rpyc_classic &
//! cargo run --example classic -- localhost:18812    # or: python3 examples/python/classic.py
//! ```
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::collections::BTreeMap;
use std::error::Error;

use rpyc_client::{RemoteObject, args, classic, kwargs};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "localhost:18812".to_owned());
    let machine = classic::connect(address).await?;

    // Any module of the server, with all its content.
    let textwrap = machine.modules("textwrap").await?;
    let lines: Vec<String> =
        textwrap.call("wrap", (args!["the quick brown fox"], kwargs! { width: 10 })).await?;
    println!("{}", lines.join(" / "));

    // Expressions, and names that stay defined.
    machine.execute("from fractions import Fraction\nthird = Fraction(1, 3)").await?;
    println!("{}", machine.eval::<String>("str(third + Fraction(1, 2))").await?);
    let third: RemoteObject = machine.namespace().await?.item("third").await?;
    println!("{} of class {}", third.str().await?, third.class_name());

    // Values arrive there as real lists and dicts, and return by value.
    let stock = BTreeMap::from([("apples", vec![3, 1, 2]), ("pears", vec![5, 4])]);
    let there: RemoteObject = machine.deliver(&stock).await?;
    let apples: RemoteObject = there.item("apples").await?;
    apples.call::<()>("sort", ()).await?;
    let sorted: BTreeMap<String, Vec<i64>> = machine.obtain(&there).await?;
    for (fruit, numbers) in sorted {
        println!("{fruit}: {numbers:?}");
    }

    // An exception raised there is an error here.
    if let Err(error) = machine.eval::<f64>("1 / 0").await {
        println!("{error}");
    }
    machine.connection().close().await;
    Ok(())
}
