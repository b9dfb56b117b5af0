//! Small networks made of Linux network namespaces.
//!
//! A [`Lab`] consists of [`Segment`]s and [`Host`]s. A segment is a switch in a separate namespace.
//! A host is a namespace with one interface on every segment to which it is attached. No packet
//! leaves the lab, so tests may use broadcast, multicast and fixed ports in it. Dropping the lab
//! removes everything; the next run removes the leftovers of a killed run.

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, panic, process, thread};

use serde_json::Value;

use crate::eventually::{PATIENCE, eventually};
use crate::notice::notice;

const PREFIX: &str = "rpyc-test";

/// An isolated network.
///
/// Declare it before the processes that run in it, because it must be dropped last.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    namespaces: RefCell<Vec<String>>,
    n_segments: Cell<u8>,
}

impl Lab {
    /// Creates an empty network.
    ///
    /// # Errors
    /// The reason why this system or this user cannot create namespaces.
    pub fn new() -> Result<Self, String> {
        static N_LABS: AtomicU32 = AtomicU32::new(0);
        if !cfg!(target_os = "linux") {
            return Err("network namespaces are a feature of Linux".to_owned());
        }
        remove_leftovers().map_err(needs)?;
        let n = N_LABS.fetch_add(1, Ordering::Relaxed);
        let lab = Self {
            prefix: format!("{PREFIX}-{}-{n}", process::id()),
            namespaces: RefCell::default(),
            n_segments: Cell::new(0),
        };
        lab.probe()?;
        Ok(lab)
    }

    /// Creates an empty network. Where that is not possible, prints the reason and the name of the
    /// skipped test on standard error, and returns `None`.
    ///
    /// With the variable `RPYC_TEST_NAMESPACES=required`, the test fails instead.
    pub fn or_notice() -> Option<Self> {
        match Self::new() {
            Ok(lab) => Some(lab),
            Err(reason) => {
                let test = thread::current().name().unwrap_or_default().to_owned();
                let required = env::var_os("RPYC_TEST_NAMESPACES").is_some_and(|v| v == "required");
                assert!(!required, "this test needs network namespaces: {reason}");
                notice(&format!("tests: {test} is not run: {reason}"));
                None
            }
        }
    }

    /// Creates one of each part of a lab, so that a later failure means a defect in the harness.
    fn probe(&self) -> Result<(), String> {
        let probe = self.namespace("probe").map_err(needs)?;
        self.namespaces.borrow_mut().retain(|name| *name != probe);
        let steps = || {
            ip(&["-n", &probe, "link", "add", "sw", "type", "bridge"])?;
            ip(&["-n", &probe, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"])?;
            ip(&["-n", &probe, "address", "add", "fd77::1/64", "dev", "eth0", "nodad"])
        };
        let made = steps();
        ip(&["netns", "delete", &probe]).map_err(needs)?;
        made.map_err(needs)
    }

    fn namespace(&self, name: &str) -> Result<String, String> {
        let name = format!("{}-{name}", self.prefix);
        ip(&["netns", "add", &name])?;
        self.namespaces.borrow_mut().push(name.clone());
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        Ok(name)
    }

    /// Adds a link to which any number of hosts can be attached.
    pub fn segment(&self) -> Segment {
        let number = self.n_segments.get() + 1;
        self.n_segments.set(number);
        let made = || {
            let namespace = self.namespace(&format!("segment{number}"))?;
            let switch = ["type", "bridge", "mcast_snooping", "0"];
            ip(&[&["-n", &namespace, "link", "add", "sw"][..], &switch].concat())?;
            ip(&["-n", &namespace, "link", "set", "sw", "up"])?;
            Ok(Segment { number, namespace, n_ports: Cell::new(0) })
        };
        made().unwrap_or_else(|error: String| panic!("cannot make a segment: {error}"))
    }

    /// Adds a host with one interface on each of `segments`. Its default route uses the first.
    pub fn host(&self, name: &str, segments: &[&Segment]) -> Host {
        let made = || {
            let mut host = Host { namespace: self.namespace(name)?, interfaces: Vec::new() };
            for (n, segment) in segments.iter().enumerate() {
                let interface = segment.attach(&host.namespace, &format!("eth{n}"))?;
                host.interfaces.push(interface);
            }
            if !segments.is_empty() {
                ip(&["-n", &host.namespace, "route", "add", "default", "dev", "eth0"])?;
            }
            Ok(host)
        };
        made().unwrap_or_else(|error: String| panic!("cannot make the host {name}: {error}"))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in self.namespaces.borrow().iter() {
            if let Err(error) = ip(&["netns", "delete", namespace]) {
                notice(&format!("tests: cannot remove the namespace {namespace}: {error}"));
            }
        }
    }
}

/// A link of a [`Lab`].
#[derive(Debug)]
pub struct Segment {
    number: u8,
    namespace: String,
    n_ports: Cell<u8>,
}

impl Segment {
    /// Connects this switch to a new interface of a host, and waits until the link is up.
    fn attach(&self, host: &str, name: &str) -> Result<Interface, String> {
        let Self { number, namespace: switch, .. } = self;
        let k = self.n_ports.get() + 1;
        self.n_ports.set(k);
        let port = format!("port{k}");

        let peer = ["peer", "name", &port, "netns", switch];
        ip(&[&["-n", host, "link", "add", name, "type", "veth"][..], &peer].concat())?;
        ip(&["-n", switch, "link", "set", &port, "master", "sw", "up"])?;
        // Assigns fixed addresses: the kernel's own would be tentative for a second or two.
        ip(&["-n", host, "link", "set", name, "addrgenmode", "none", "up"])?;

        let v4 = Ipv4Addr::new(10, 77, *number, k);
        let v6 = Ipv6Addr::new(0xfd77, (*number).into(), 0, 0, 0, 0, 0, k.into());
        let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, (*number).into(), k.into());
        ip(&["-n", host, "address", "add", &format!("{v4}/24"), "broadcast", "+", "dev", name])?;
        for address in [v6, link_local] {
            ip(&["-n", host, "address", "add", &format!("{address}/64"), "dev", name, "nodad"])?;
        }

        let index = eventually(&format!("carrier on {name}"), PATIENCE, || index_if_up(host, name));
        let broadcast = Ipv4Addr::new(10, 77, *number, 255);
        Ok(Interface { name: name.to_owned(), index, v4, broadcast, v6, link_local })
    }
}

/// An interface of a [`Host`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Interface {
    /// Its name: `eth0`, `eth1`, ...
    pub name: String,
    /// Its index, which is the scope of link-local addresses.
    pub index: u32,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// The broadcast address of its IPv4 network.
    pub broadcast: Ipv4Addr,
    /// Its routable IPv6 address.
    pub v6: Ipv6Addr,
    /// Its link-local IPv6 address.
    pub link_local: Ipv6Addr,
}

/// A host of a [`Lab`]; cheap to clone, and usable only while the lab exists.
#[derive(Debug, Clone)]
pub struct Host {
    namespace: String,
    interfaces: Vec<Interface>,
}

impl Host {
    /// Its interface on the first of its segments.
    pub fn interface(&self) -> &Interface {
        self.interfaces.first().expect("the host is on a segment")
    }

    /// Its interfaces, in the order of its segments.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Makes a command that runs on this host with the process id of the spawned child.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }

    /// Runs `work` on this host in a separate thread. Sockets that it opens stay on the host.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = namespace_path(&self.namespace);
        let done = thread::scope(|scope| {
            let inside = || {
                join_namespace(&path);
                work()
            };
            scope.spawn(inside).join()
        });
        done.unwrap_or_else(|cause| panic::resume_unwind(cause))
    }
}

#[cfg(target_os = "linux")]
fn join_namespace(path: &Path) {
    let namespace = fs::File::open(path).expect("the lab lives");
    nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET)
        .expect("who made a namespace may join it");
}

#[cfg(not(target_os = "linux"))]
fn join_namespace(_: &Path) {
    panic!("no lab exists here");
}

fn namespace_path(name: &str) -> std::path::PathBuf {
    Path::new("/var/run/netns").join(name)
}

fn needs(error: String) -> String {
    format!("network namespaces need root and iproute2 ({error})")
}

/// Returns the index of an interface once both it and its link are up.
fn index_if_up(namespace: &str, name: &str) -> Option<u32> {
    let text = output(Command::new("ip").args(["-n", namespace, "-j", "link", "show", name]));
    let links: Value = serde_json::from_str(&text.ok()?).ok()?;
    let link = links.get(0)?;
    let index = link.get("ifindex")?.as_u64()?.try_into().ok()?;
    (link.get("operstate")?.as_str()? == "UP").then_some(index)
}

/// Removes the namespaces of test processes that no longer exist.
fn remove_leftovers() -> Result<(), String> {
    let listed = output(Command::new("ip").args(["netns", "list"]))?;
    for name in listed.lines().filter_map(|line| line.split_whitespace().next()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').nth(1));
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another process may have removed it meanwhile.
            let _ = ip(&["netns", "delete", name]);
        }
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    output(Command::new("ip").args(arguments)).map(drop)
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("cannot run ip: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
