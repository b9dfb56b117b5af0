//! The syntax of values, which is the same in switches, the environment and the configuration file.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use rpyc_client::Port;
use serde::Serialize;

/// Parses a number of seconds, as RPyC does, or a duration with units.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = match text.trim().parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?,
        Err(_) => humantime::parse_duration(text)
            .map_err(|error| format!("{error}; write seconds, or units as in 90s or 4m"))?,
    };
    if duration.is_zero() { Err("write a duration longer than 0".to_owned()) } else { Ok(duration) }
}

/// Parses a TCP port or, if the text contains a slash, the path of a unix socket.
pub(crate) fn parse_port(text: &str) -> Result<Port, String> {
    // No script must take a part of a path for another argument.
    let is_word = text.starts_with('/') || !text.contains(char::is_whitespace);
    if text.contains('/') && is_word && !text.contains(char::is_control) {
        return Port::path(text).map_err(|error| error.to_string());
    }
    let port = text.parse().map_err(|_not_a_number| {
        "write a number from 1 to 65535, or the path of a unix socket".to_owned()
    })?;
    Port::tcp(port).map_err(|error| error.to_string())
}

/// Parses `KEY=VALUE`.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or_else(|| "write KEY=VALUE".to_owned())?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A duration in the form that people write and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_duration(text).map(Self)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A fraction: `0.15` or `15%`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct Share(pub(crate) f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |text| (text, 100.0));
        let share = number.trim().parse::<f64>().ok().map(|number| number / unit);
        let share = share.filter(|share| (0.0..=1.0).contains(share));
        share.map(Self).ok_or_else(|| "write a share from 0 to 1, or from 0% to 100%".to_owned())
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    Udp,
    Tcp,
    Both,
}

/// The clients that may list names. RPyC's switch is a boolean, so the usual spellings of booleans
/// are accepted too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ListingFor {
    #[value(aliases = ["true", "yes", "y", "t", "on", "1"])]
    Everyone,
    ThisMachine,
    #[value(aliases = ["false", "no", "n", "f", "off", "0"])]
    Nobody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Failing {
    Last,
    Hidden,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StoreKind {
    File,
    Memory,
}

/// Which clients may be operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Operators {
    /// Those that the other switches describe.
    All,
    None,
}

/// Where the socket for operators is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SocketAt {
    Off,
    Path(PathBuf),
}

impl SocketAt {
    /// Reads a path, or `off`. A boolean, as a configuration file may have, is not a path.
    pub(crate) fn parse(text: OsString) -> Result<Self, String> {
        match text.to_string_lossy().to_lowercase().as_str() {
            "off" | "none" | "no" | "false" => Ok(Self::Off),
            "" | "on" | "yes" | "true" => Err("write the path of a socket, or off".to_owned()),
            _ => Ok(Self::Path(text.into())),
        }
    }
}

impl Serialize for SocketAt {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::Path(path) => path.serialize(serializer),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Displays a value as it can be written, so that it can be a default.
macro_rules! display_as_written {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let written = self.to_possible_value();
                f.write_str(written.as_ref().map_or("", |value| value.get_name()))
            }
        }
    )*};
}

display_as_written!(Failing, ListingFor, LogFormat, LogLevel, Mode, Operators, StoreKind);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_number_or_a_path_and_no_arguments() {
        for text in ["1", "65535", "/run/x.sock", "./x.sock", "/run/a b.sock"] {
            assert_eq!(parse_port(text).unwrap().to_string(), text);
        }
        for text in ["0", "65536", "x", "", "4444 -e /bin/sh", "/run/x\n/y", "a\t/b"] {
            parse_port(text).unwrap_err();
        }
    }

    #[test]
    fn a_socket_is_at_a_path_or_off() {
        for text in ["off", "OFF", "none", "false"] {
            assert_eq!(SocketAt::parse(text.into()), Ok(SocketAt::Off), "{text}");
        }
        for text in ["", "true", "on"] {
            SocketAt::parse(text.into()).unwrap_err();
        }
        for text in ["/run/o.sock", "o.sock", "./off"] {
            assert_eq!(SocketAt::parse(text.into()), Ok(SocketAt::Path(text.into())), "{text}");
        }
    }

    #[test]
    fn a_value_is_read_as_it_is_shown() {
        for (text, shown) in [("90", "1m 30s"), ("4m", "4m"), ("1h 2s", "1h 2s"), ("0.5", "500ms")]
        {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string(), shown);
            assert_eq!(shown.parse(), Ok(span));
        }
        for text in ["0", "soon", "-1", "", "nan", "inf"] {
            text.parse::<Span>().unwrap_err();
        }
        for (text, share) in [("15%", 0.15), ("0.15", 0.15), ("1", 1.0), ("0", 0.0)] {
            assert_eq!(text.parse(), Ok(Share(share)));
        }
        for text in ["1.1", "-1", "101%", "nan", "", "%"] {
            text.parse::<Share>().unwrap_err();
        }
    }
}
