//! Which services are probed, and how.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use rpyc_protocol::{FoldedName, ServiceName};
use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

use super::Pace;

/// The shortest interval and timeout. Anything shorter would be an attack.
const SHORTEST: Duration = Duration::from_millis(100);

/// How services are probed.
///
/// In a configuration file the fields are keys; on the command line it is written
/// `KIND[,service=GLOB][,interval=TIME][,timeout=TIME][,failures=N][,successes=N]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ProbeRule {
    /// Names that look like this. Default `*`: all.
    #[serde(default)]
    pub service: ServiceGlob,
    /// What must succeed.
    pub kind: ProbeKind,
    /// How often. Default 10 s; a failing instance is probed more and more rarely.
    #[serde(default = "default_interval", with = "human")]
    pub interval: Duration,
    /// How long each address may take. Default 2 s.
    #[serde(default = "default_timeout", with = "human")]
    pub timeout: Duration,
    /// How many failures in a row make an instance failing. Default 3.
    #[serde(default = "default_failures")]
    pub failures: NonZeroU32,
    /// How many successes in a row make it passing again. Default 2.
    #[serde(default = "default_successes")]
    pub successes: NonZeroU32,
}

impl ProbeRule {
    /// Probes everything in this way, with the default times and thresholds.
    #[must_use]
    pub fn new(kind: ProbeKind) -> Self {
        Self {
            service: ServiceGlob::default(),
            kind,
            interval: default_interval(),
            timeout: default_timeout(),
            failures: default_failures(),
            successes: default_successes(),
        }
    }

    /// Its times and thresholds.
    pub(crate) fn pace(&self) -> Pace {
        let Self { interval, failures, successes, .. } = *self;
        Pace { interval, failures, successes }
    }
}

fn default_interval() -> Duration {
    Duration::from_secs(10)
}

fn default_timeout() -> Duration {
    Duration::from_secs(2)
}

fn default_failures() -> NonZeroU32 {
    const { NonZeroU32::new(3).unwrap() }
}

fn default_successes() -> NonZeroU32 {
    const { NonZeroU32::new(2).unwrap() }
}

/// What a server must do to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ProbeKind {
    /// Accept a connection. The system does that for a program that listens, even if it hangs.
    Tcp,
    /// Finish a TLS handshake, with whatever certificate.
    Tls,
    /// Answer RPyC's PING, in either dialect.
    Rpyc,
}

impl ProbeKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Tls, Self::Rpyc];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Rpyc => "rpyc",
        }
    }
}

/// A pattern of service names, in any case: `*` is any text, `?` any character.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceGlob {
    text: String,
    folded: WildMatch,
}

impl ServiceGlob {
    /// Whether a name looks like it.
    #[must_use]
    pub fn matches(&self, name: &ServiceName) -> bool {
        self.folded.matches(name.as_str())
    }
}

impl Default for ServiceGlob {
    fn default() -> Self {
        Self { text: "*".to_owned(), folded: WildMatch::new("*") }
    }
}

impl TryFrom<String> for ServiceGlob {
    type Error = ProbeRuleError;

    fn try_from(text: String) -> Result<Self, ProbeRuleError> {
        let folded = FoldedName::new(&text)
            .map_err(|error| ProbeRuleError::Service(error.to_string().into()))?;
        Ok(Self { folded: WildMatch::new(&folded), text })
    }
}

impl From<ServiceGlob> for String {
    fn from(glob: ServiceGlob) -> Self {
        glob.text
    }
}

/// Why something is no [`ProbeRule`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeRuleError {
    /// There is no such setting.
    #[error("{0:?} is none of service=, interval=, timeout=, failures=, successes=")]
    Key(Box<str>),
    /// There is no such kind.
    #[error("{0:?} is no kind of probe: tcp, tls and rpyc are")]
    Kind(Box<str>),
    /// It is no number from 1 on.
    #[error("{0:?} is no number from 1 on")]
    Number(Box<str>),
    /// It is no pattern of names.
    #[error("no service can be called that: {0}")]
    Service(Box<str>),
    /// It is no time, or too short a one.
    #[error("{0:?} is no time of 100ms or more, like 10s")]
    Time(Box<str>),
}

impl FromStr for ProbeRule {
    type Err = ProbeRuleError;

    fn from_str(text: &str) -> Result<Self, ProbeRuleError> {
        let mut parts = text.split(',').map(str::trim);
        let word = parts.next().unwrap_or_default();
        let kind = ProbeKind::ALL.into_iter().find(|kind| kind.as_str() == word);
        let mut rule = Self::new(kind.ok_or_else(|| ProbeRuleError::Kind(word.into()))?);
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key {
                "service" => rule.service = value.to_owned().try_into()?,
                "interval" => rule.interval = human::read(value)?,
                "timeout" => rule.timeout = human::read(value)?,
                "failures" => rule.failures = number(value)?,
                "successes" => rule.successes = number(value)?,
                other => return Err(ProbeRuleError::Key(other.into())),
            }
        }
        Ok(rule)
    }
}

impl fmt::Display for ProbeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, kind, interval, timeout, failures, successes } = self;
        let (interval, timeout) =
            (humantime::format_duration(*interval), humantime::format_duration(*timeout));
        write!(f, "{},service={},interval={interval}", kind.as_str(), service.text)?;
        write!(f, ",timeout={timeout},failures={failures},successes={successes}")
    }
}

fn number(text: &str) -> Result<NonZeroU32, ProbeRuleError> {
    text.parse().map_err(|_not_a_number| ProbeRuleError::Number(text.into()))
}

/// Times as people write them.
mod human {
    use std::time::Duration;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{ProbeRuleError, SHORTEST};

    pub(super) fn read(text: &str) -> Result<Duration, ProbeRuleError> {
        let time = humantime::parse_duration(text).ok().filter(|time| *time >= SHORTEST);
        time.ok_or_else(|| ProbeRuleError::Time(text.into()))
    }

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        read(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_written() {
        let text = "rpyc,service=pay*,interval=30s,timeout=500ms,failures=5,successes=1";
        let rule: ProbeRule = text.parse().unwrap();
        assert_eq!(rule.to_string(), text);
        assert!(rule.service.matches(&ServiceName::new("PAYROLL").unwrap()));
        assert!(!rule.service.matches(&ServiceName::new("OTHER").unwrap()));
        let json = r#"{"service":"pay*","kind":"rpyc","interval":"30s","timeout":"500ms","failures":5,"successes":1}"#;
        assert_eq!(serde_json::to_string(&rule).unwrap(), json);
        assert_eq!(serde_json::from_str::<ProbeRule>(json).unwrap(), rule);

        let short: ProbeRule = serde_json::from_str(r#"{"kind":"tcp"}"#).unwrap();
        assert_eq!(short, "tcp".parse().unwrap());
        let long = "tcp,service=*,interval=10s,timeout=2s,failures=3,successes=2";
        assert_eq!(short.to_string(), long);
    }

    #[test]
    fn what_is_no_rule_is_refused_with_the_reason() {
        let refused = |text: &str, word: &str| {
            let error = text.parse::<ProbeRule>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        };
        refused("udp", "tcp, tls and rpyc");
        refused("tcp,interval=10", "10s");
        refused("tcp,interval=99ms", "100ms");
        refused("tcp,failures=0", "from 1 on");
        refused("tcp,colour=red", "successes=");
        refused(&format!("tcp,service={}", "x".repeat(300)), "called that");
        for json in [
            r#"{}"#,
            r#"{"kind":"icmp"}"#,
            r#"{"kind":"tcp","interval":"0s"}"#,
            r#"{"kind":"tcp","colour":1}"#,
        ] {
            serde_json::from_str::<ProbeRule>(json).unwrap_err();
        }
    }
}
