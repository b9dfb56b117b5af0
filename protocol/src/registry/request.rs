//! The legacy face's requests: `("RPYC", COMMAND, arguments)`.

use super::{Port, PortError};
use crate::Limits;
use crate::brine::{DecodeError, EncodeError, Token, Tokens, Writer};

const MAGIC: &str = "RPYC";

/// One request to a registry, borrowing its text from the bytes it came in.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "the wire's vocabulary is closed")]
pub enum Request<'a> {
    /// `QUERY (name,)`: who serves `name`?
    Query {
        /// The name as sent, not folded.
        name: &'a str,
    },
    /// `LIST ((host,),)`: which names are served, by anyone or by one host?
    List {
        /// Only names that are served from this host.
        host: Option<&'a str>,
    },
    /// `REGISTER (names, port)`: the sender serves `names` on `port`.
    Register {
        /// The names as sent, not folded.
        names: Names<'a>,
        /// Where the sender listens.
        port: Port,
    },
    /// `UNREGISTER (port,)`: the sender serves nothing on `port` any more.
    Unregister {
        /// Where the sender listened.
        port: Port,
    },
}

impl<'a> Request<'a> {
    /// Decodes what RPyC's registry would accept.
    ///
    /// As there, the command's case does not matter, names may stand in any container of text (a
    /// bare text gives its letters), and bytes after the request are ignored. Unlike there, a port
    /// must be one, and nothing is registered in part.
    ///
    /// # Errors
    /// [`RequestError`] with the reason; the fault of the sender.
    pub fn decode(bytes: &'a [u8], limits: &Limits) -> Result<Self, RequestError> {
        let mut tokens = Tokens::new(bytes, limits)?;
        let Token::Tuple(3) = tokens.next_token()? else { return Err(RequestError::Shape) };
        let Token::Str(MAGIC) = tokens.next_token()? else { return Err(RequestError::Magic) };
        let Token::Str(command) = tokens.next_token()? else {
            return Err(RequestError::CommandType);
        };
        let verb = Verb::parse(command).ok_or_else(|| RequestError::UnknownCommand {
            command: command.chars().take(32).collect(),
        })?;
        match tokens.next_token()? {
            Token::Tuple(given) | Token::FrozenSet(given) if given == verb.arity() => {}
            Token::Tuple(given) | Token::FrozenSet(given) => {
                return Err(RequestError::Arity { command: verb.word(), given });
            }
            _ => return Err(RequestError::Shape),
        }
        let request = match verb {
            Verb::Query => match tokens.next_token()? {
                Token::Str(name) => Self::Query { name },
                _ => return Err(RequestError::NameType),
            },
            Verb::List => {
                let filter = tokens.next_token()?;
                let Token::Tuple(more @ 1..) = filter else { return Err(RequestError::FilterType) };
                let host = match tokens.next_token()? {
                    Token::None | Token::Str("") => None,
                    Token::Str(host) => Some(host),
                    _ => return Err(RequestError::FilterType),
                };
                tokens.skip(more - 1)?;
                Self::List { host }
            }
            Verb::Register => {
                let names = Names::decode(&mut tokens)?;
                Self::Register { names, port: Port::from_token(tokens.next_token()?)? }
            }
            Verb::Unregister => Self::Unregister { port: Port::from_token(tokens.next_token()?)? },
        };
        Ok(request)
    }

    /// Appends the bytes that RPyC's own client would send.
    ///
    /// # Errors
    /// [`EncodeError`] for texts of 4 GiB.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut out = Writer::new(out);
        let verb = match self {
            Self::Query { .. } => Verb::Query,
            Self::List { .. } => Verb::List,
            Self::Register { .. } => Verb::Register,
            Self::Unregister { .. } => Verb::Unregister,
        };
        out.tuple(3)?.str(MAGIC)?.str(verb.word())?.tuple(verb.arity())?;
        match self {
            Self::Query { name } => {
                out.str(name)?;
            }
            Self::List { host } => {
                match host {
                    Some(host) => out.tuple(1)?.str(host)?,
                    None => out.tuple(1)?.none(),
                };
            }
            Self::Register { names, port } => {
                out.tuple(names.clone().count())?;
                for name in names.clone() {
                    out.str(name)?;
                }
                port.encode(&mut out)?;
            }
            Self::Unregister { port } => port.encode(&mut out)?,
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Verb {
    Query,
    List,
    Register,
    Unregister,
}

impl Verb {
    const ALL: [Self; 4] = [Self::Query, Self::List, Self::Register, Self::Unregister];

    fn parse(command: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.word().eq_ignore_ascii_case(command))
    }

    fn word(self) -> &'static str {
        match self {
            Self::Query => "QUERY",
            Self::List => "LIST",
            Self::Register => "REGISTER",
            Self::Unregister => "UNREGISTER",
        }
    }

    fn arity(self) -> usize {
        match self {
            Self::Query | Self::List | Self::Unregister => 1,
            Self::Register => 2,
        }
    }
}

/// The names of a registration, one after another, as sent.
#[derive(Clone, Debug)]
pub struct Names<'a>(Source<'a>);

#[derive(Clone, Debug)]
enum Source<'a> {
    /// Already checked: the next `left` tokens are text.
    Encoded {
        tokens: Tokens<'a>,
        left: usize,
    },
    /// A bare text in the place of a container: Python iterates over its characters.
    Letters(&'a str),
    Given(std::slice::Iter<'a, crate::ServiceName>),
}

impl<'a> Names<'a> {
    /// Reads a container of text and leaves `tokens` behind it.
    fn decode(tokens: &mut Tokens<'a>) -> Result<Self, RequestError> {
        match tokens.next_token()? {
            Token::Str(letters) => Ok(Self(Source::Letters(letters))),
            // Python finds neither anything to register nor anything to object to in `b""`.
            Token::Bytes(b"") => Ok(Self(Source::Letters(""))),
            Token::Tuple(len) | Token::FrozenSet(len) => {
                let names = tokens.clone();
                for _ in 0..len {
                    let Token::Str(_) = tokens.next_token()? else {
                        return Err(RequestError::NameType);
                    };
                }
                Ok(Self(Source::Encoded { tokens: names, left: len }))
            }
            _ => Err(RequestError::NamesType),
        }
    }
}

impl<'a> From<&'a [crate::ServiceName]> for Names<'a> {
    fn from(names: &'a [crate::ServiceName]) -> Self {
        Self(Source::Given(names.iter()))
    }
}

impl<'a> Iterator for Names<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        match &mut self.0 {
            Source::Encoded { tokens, left } => {
                *left = left.checked_sub(1)?;
                match tokens.next_token() {
                    Ok(Token::Str(name)) => Some(name),
                    _ => None,
                }
            }
            Source::Letters(rest) => {
                let first = rest.chars().next()?;
                let (letter, after) = rest.split_at(first.len_utf8());
                *rest = after;
                Some(letter)
            }
            Source::Given(names) => names.next().map(crate::ServiceName::as_str),
        }
    }
}

/// Why bytes are not a request; the fault of the sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The wrong number of arguments.
    #[error("{command} does not take {given} arguments")]
    Arity {
        /// The command.
        command: &'static str,
        /// How many arguments came.
        given: usize,
    },
    /// The command is not text.
    #[error("the command is not text")]
    CommandType,
    /// Not a brine value.
    #[error("not brine: {0}")]
    Decode(#[from] DecodeError),
    /// LIST's filter is not a tuple of one text or `None`.
    #[error("the host to list is not text")]
    FilterType,
    /// The first of the three is not the text `RPYC`.
    #[error("does not begin with the text RPYC")]
    Magic,
    /// A name is not text.
    #[error("a name is not text")]
    NameType,
    /// The names are not a container.
    #[error("the names are not a tuple of text")]
    NamesType,
    /// The port is none.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Not a tuple of three with a tuple of arguments.
    #[error("not of the shape (\"RPYC\", command, arguments)")]
    Shape,
    /// A command that no registry knows.
    #[error("the unknown command {command:?}")]
    UnknownCommand {
        /// Its first characters.
        command: String,
    },
}
