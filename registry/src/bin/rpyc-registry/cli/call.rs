//! Arguments of the verbs that connect to a server.

use std::time::Duration;

use clap::Args;
use rpyc_client::{Connection, ConnectionBuilder, Dialect};

use super::value::parse_duration;
use super::{AskArgs, OutputFormat};
use crate::command::Target;

/// The protocol options of a connection.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct SpeakArgs {
    /// The dialect of the server: 5 for RPyC 4.1 to 5.3, 6 for RPyC 6. By default, the client tries
    /// the dialect in `$RPYC_DIALECT` first, else 6; a wrong first try ends a one-shot server
    #[arg(long, value_name = "5|6")]
    dialect: Option<Dialect>,
}

impl SpeakArgs {
    /// Applies the dialect to a connection builder.
    pub(crate) fn apply(self, builder: ConnectionBuilder) -> ConnectionBuilder {
        match self.dialect {
            Some(dialect) => builder.dialect(dialect),
            None => builder,
        }
    }

    pub(crate) fn builder(self) -> ConnectionBuilder {
        self.apply(Connection::builder())
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CallArgs {
    /// A name, HOST:PORT, or the path of a unix socket
    #[arg(value_name = "NAME|HOST:PORT")]
    pub(crate) target: Target,

    /// The method to call
    pub(crate) method: String,

    /// The arguments of the method
    #[arg(value_name = "ARG|KEY=VALUE", allow_negative_numbers = true)]
    pub(crate) arguments: Vec<String>,

    #[command(flatten)]
    pub(crate) speak: SpeakArgs,

    /// How long to wait for each of the registry, the connection and the result: seconds, or like
    /// 500ms
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", default_value = "30")]
    pub(crate) timeout: Duration,

    /// The output format: table and name print the result as Python does
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: OutputFormat,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct InspectArgs {
    /// A name, HOST:PORT, or the path of a unix socket
    #[arg(value_name = "NAME|HOST:PORT")]
    pub(crate) target: Target,

    #[command(flatten)]
    pub(crate) speak: SpeakArgs,

    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct PingArgs {
    /// A name, HOST:PORT, or the path of a unix socket
    #[arg(value_name = "NAME|HOST:PORT")]
    pub(crate) target: Target,

    #[command(flatten)]
    pub(crate) speak: SpeakArgs,

    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ShellArgs {
    /// A host, HOST:PORT, or a name
    #[arg(value_name = "HOST|NAME")]
    pub(crate) target: Target,

    #[command(flatten)]
    pub(crate) speak: SpeakArgs,

    /// How long to wait for each of the registry and the connection: seconds, or like 500ms
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", default_value = "3")]
    pub(crate) timeout: Duration,
}
