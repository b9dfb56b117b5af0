//! Rules for which services are probed, and how.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use rpyc_protocol::{FoldedName, ServiceName};
use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

use super::Schedule;

/// The shortest interval and timeout. A shorter one would amount to an attack.
const SHORTEST: Duration = Duration::from_millis(100);

/// How the services with matching names are probed.
///
/// In a configuration file the fields are keys; on the command line it is written
/// `KIND[,service=GLOB][,interval=TIME][,timeout=TIME][,failures=N][,successes=N]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ProbeRule {
    /// The names that it applies to. Default `*`: all names.
    #[serde(default)]
    pub service: ServiceGlob,
    /// The kind of probe.
    pub kind: ProbeKind,
    /// The time between two probes. Default 10 s; a failing instance is probed less and less often.
    #[serde(default = "default_interval", with = "human")]
    pub interval: Duration,
    /// The longest time for each address. Default 2 s.
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
    /// A rule that probes every service in this way, with the default times and thresholds.
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

    /// The times and thresholds of the rule.
    pub(crate) fn schedule(&self) -> Schedule {
        let Self { interval, failures, successes, .. } = *self;
        Schedule { interval, failures, successes }
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

/// The condition for a server to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ProbeKind {
    /// Accept a connection. The system does that for a program that listens, even if it hangs.
    Tcp,
    /// Complete a TLS handshake, with any certificate.
    Tls,
    /// Answer RPyC's PING, in either dialect.
    Rpyc,
}

impl ProbeKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Tls, Self::Rpyc];

    /// The name of the kind in rules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Rpyc => "rpyc",
        }
    }
}

/// A pattern of service names, in any case: `*` matches any text, `?` any character.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceGlob {
    text: String,
    folded: WildMatch,
}

impl ServiceGlob {
    /// Whether the pattern matches a name.
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

/// A text is not a valid [`ProbeRule`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeRuleError {
    /// The setting does not exist.
    #[error("unknown setting {0:?}: use service=, interval=, timeout=, failures= or successes=")]
    Key(Box<str>),
    /// The kind does not exist.
    #[error("unknown kind of probe {0:?}: use tcp, tls or rpyc")]
    Kind(Box<str>),
    /// The value is not a number from 1 on.
    #[error("invalid number {0:?}: write a number from 1 on")]
    Number(Box<str>),
    /// The value is not a valid pattern of names.
    #[error("invalid service name: {0}")]
    Service(Box<str>),
    /// The value is not a time, or is too short.
    #[error("invalid time {0:?}: write 100ms or more, like 10s")]
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

/// Times in human-readable form.
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
        refused("udp", "tcp, tls or rpyc");
        refused("tcp,interval=10", "10s");
        refused("tcp,interval=99ms", "100ms");
        refused("tcp,failures=0", "from 1 on");
        refused("tcp,colour=red", "successes=");
        refused(&format!("tcp,service={}", "x".repeat(300)), "invalid service name");
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
