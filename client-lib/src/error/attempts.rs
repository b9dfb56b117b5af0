//! What each registry did instead of answering, as one sentence.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::Fault;
use crate::RegistryAddr;

/// One registry and what it did instead of answering.
#[derive(Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// The registry that was asked.
    pub registry: RegistryAddr,
    /// Who answered for it, if anyone did: behind a broadcast, one of several.
    pub responder: Option<SocketAddr>,
    /// What happened.
    pub fault: Fault,
}

/// The registries that were asked in vain, in order, and how long that took.
#[derive(Debug)]
pub struct Attempts {
    each: Box<[Attempt]>,
    waited: Duration,
}

impl Attempts {
    pub(crate) fn new(each: Vec<Attempt>, waited: Duration) -> Self {
        Self { each: each.into(), waited }
    }

    /// Each registry that was asked.
    pub fn iter(&self) -> std::slice::Iter<'_, Attempt> {
        self.each.iter()
    }

    /// How long all of it took.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    pub(crate) fn into_each(self) -> Vec<Attempt> {
        self.each.into_vec()
    }

    /// Whether `fault` holds for any registry.
    pub(crate) fn any(&self, fault: impl Fn(&Fault) -> bool) -> bool {
        self.iter().any(|attempt| fault(&attempt.fault))
    }
}

impl<'a> IntoIterator for &'a Attempts {
    type Item = &'a Attempt;
    type IntoIter = std::slice::Iter<'a, Attempt>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.each.is_empty() {
            return f.write_str("none was given");
        }
        for (i, attempt) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{attempt}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.registry)?;
        match self.responder {
            // A unix socket has no other address.
            Some(_) if self.registry.socket_path().is_some() => {}
            Some(from) if self.registry.host() != from.ip().to_string() => write!(f, "{from} ")?,
            _ => {}
        }
        write!(f, "{}", self.fault)?;
        if let Some(source) = self.fault.source() {
            write!(f, ": {source}")?;
        }
        f.write_str(")")
    }
}
