//! The Rust half of the guide "From Python to Rust", `docs/guide.md`: a function for each listing.
//!
//! ```text
//! rpyc_classic &                                                  # or rpyc_classic.py
//! cargo run --example guide -- 2 localhost:18812
//! python3 examples/python/guide.py 2 localhost:18812              # the same in Python
//! ```
//!
//! Listings 2 to 7 need a classic server, which for 3 has to find `Payroll.py`
//! (`PYTHONPATH=examples/python rpyc_classic`); 2 takes several. 6 needs the address of a web
//! server too, as the classic server knows it. 8 serves at an address, and 9 is its client.
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;

use futures_util::future::try_join_all;
use rpyc_client::classic::{self, Stdio};
use rpyc_client::{RemoteObject, args, connect, kwargs};
use rpyc_server::{Server, service, shutdown_signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn listing_1() -> Result<(), Box<dyn Error>> {
    let name = nix::unistd::gethostname()?;
    println!("{}", name.to_string_lossy());
    println!("Rust {} or later", env!("CARGO_PKG_RUST_VERSION"));
    println!("{}", std::env::current_dir()?.display());
    Ok(())
}

async fn listing_2(addresses: &[String]) -> Result<(), Box<dyn Error>> {
    let machines = try_join_all(addresses.iter().map(classic::connect)).await?;
    for machine in machines {
        let (name, version, folder): (String, String, String) = tokio::try_join!(
            machine.modules("platform").call("node", ()),
            machine.modules("platform").call("python_version", ()),
            machine.modules("os").call("getcwd", ()),
        )?;
        println!("{name}\nPython {version}\n{folder}");
    }
    Ok(())
}

async fn listing_3(address: &str) -> Result<(), Box<dyn Error>> {
    let machine = classic::connect(address).await?;
    let name = kwargs! { last: "Mertz", first: "David" };
    let salary: f64 = machine.modules("Payroll").call("get_salary", name).await?;
    println!("{salary:.2}");
    Ok(())
}

async fn listing_4(address: &str) -> Result<(), Box<dyn Error>> {
    let machine = classic::connect(address).await?;
    machine.interact(Stdio::default()).await?;
    Ok(())
}

async fn listing_5(address: &str) -> Result<(), Box<dyn Error>> {
    let machine = classic::connect(address).await?;
    machine.execute("def greet(name):\n    print('Hello,', name)\n    return len(name)").await?;
    let greet: RemoteObject = machine.namespace().await?.item("greet").await?;

    // Printed there.
    let there: usize = greet.invoke(args!["server"]).await?;

    // Printed here.
    let greet_here = async || greet.invoke(args!["client"]).await;
    let here: usize = machine.redirected_stdio(Stdio::default(), greet_here).await?;
    println!("{there} {here}");
    Ok(())
}

async fn listing_6(address: &str, inside: &str) -> Result<(), Box<dyn Error>> {
    let (host, port) = inside.rsplit_once(':').ok_or("HOST:PORT is needed")?;
    let machine = classic::connect(address).await?;
    let mut socket = machine.connect_tcp(host, port.parse()?).await?;
    let request = format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    println!("{}", answer.lines().last().unwrap_or_default());
    Ok(())
}

async fn listing_7(address: &str) -> Result<(), Box<dyn Error>> {
    let machine = classic::connect(address).await?;
    machine.execute("def slowly(n):\n    import time\n    time.sleep(1)\n    return n * 2").await?;
    let slowly: RemoteObject = machine.namespace().await?.item("slowly").await?;

    let doubled = slowly.invoke::<i64>(args![21]).spawn();
    println!("{}", if doubled.is_ready() { "done" } else { "not yet" });
    println!("{}", doubled.await?);
    Ok(())
}

struct Weather;

/// The weather of one place.
#[service]
impl Weather {
    #[service(on_connect)]
    fn came(&self) {
        println!("a client has come");
    }

    #[service(on_disconnect)]
    fn left(&self) {
        println!("a client has left");
    }

    /// Where it is measured.
    fn place(&self) -> &str {
        "Darmstadt"
    }

    /// What was measured on a day, in degrees.
    fn temperatures(&self, _day: i64) -> [f64; 3] {
        [11.5, 17.0, 13.5]
    }

    #[service(skip)]
    #[expect(dead_code, reason = "no client can call it")]
    fn recalibrate(&self) {}
}

async fn listing_8(address: &str) -> Result<(), Box<dyn Error>> {
    let server = Server::builder(Weather).bind(address).listen().await?;
    for address in server.addrs() {
        println!("listening on {address}");
    }
    server.serve(shutdown_signal()).await;
    Ok(())
}

async fn listing_9(address: &str) -> Result<(), Box<dyn Error>> {
    let weather = connect(address).await?.root().await?;
    let place: String = weather.call("place", ()).await?;
    let temperatures: Vec<f64> = weather.call("temperatures", args![1]).await?;
    let highest = temperatures.into_iter().fold(f64::MIN, f64::max);
    println!("{place}: up to {highest:.1} degrees");
    match weather.call::<()>("recalibrate", ()).await {
        Err(error) if error.is("AttributeError") => println!("recalibrate is not exposed"),
        other => other?,
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let (listing, addresses) = words.split_first().ok_or("which listing?")?;
    match (&**listing, addresses) {
        ("1", _) => listing_1(),
        ("2", addresses) => listing_2(addresses).await,
        ("3", [address]) => listing_3(address).await,
        ("4", [address]) => listing_4(address).await,
        ("5", [address]) => listing_5(address).await,
        ("6", [address, inside]) => listing_6(address, inside).await,
        ("7", [address]) => listing_7(address).await,
        ("8", [address]) => listing_8(address).await,
        ("9", [address]) => listing_9(address).await,
        _ => Err("use: guide LISTING HOST:PORT...".into()),
    }
}
