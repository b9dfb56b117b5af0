//! Changes for watchers: registrations by the native face, and their end.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::ensure;

/// Registers one instance for each change.
pub(crate) struct Changes {
    stream: BufReader<TcpStream>,
    leases: Vec<String>,
    /// Distinguishes the runs against one daemon, so that each registration is a new one.
    key: u32,
}

impl Changes {
    pub(crate) fn new(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), leases: Vec::new(), key: std::process::id() })
    }

    /// Registers `name` on `port`; returns once that is acknowledged.
    pub(crate) fn make(&mut self, name: &str, port: u16) -> anyhow::Result<()> {
        let key = self.key;
        let answer = self.ask(&format!(
            r#"{{"v":1,"op":"register","names":["{name}"],"port":{port},"ttl_ms":120000,"key":"{key}"}}"#
        ))?;
        let lease = answer.split(r#""lease":""#).nth(1).and_then(|rest| rest.get(..32));
        self.leases.extend(lease.map(str::to_owned));
        Ok(())
    }

    /// Ends its registrations.
    pub(crate) fn end(mut self) -> anyhow::Result<()> {
        for lease in std::mem::take(&mut self.leases) {
            self.ask(&format!(r#"{{"v":1,"op":"deregister","lease":"{lease}"}}"#))?;
        }
        Ok(())
    }

    fn ask(&mut self, request: &str) -> anyhow::Result<String> {
        let mut answer = String::new();
        writeln!(self.stream.get_mut(), "{request}")?;
        self.stream.read_line(&mut answer)?;
        ensure!(!answer.is_empty() && !answer.contains(r#""error""#), "{request}: {answer}");
        Ok(answer)
    }
}
