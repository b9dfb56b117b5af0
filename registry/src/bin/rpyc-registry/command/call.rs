//! `rpyc-registry call`: call a method of any RPyC server.

mod show;

use std::process::ExitCode;

use rpyc_client::{Args, CallError, Local, Parcel, Registries};
use rpyc_server::{Dict, List};

use super::block_on;
use crate::cli::{CallArgs, OutputFormat};
use crate::literal::Literal;
use crate::output;

pub(crate) fn run(args: &CallArgs, registries: Option<Registries>) -> anyhow::Result<ExitCode> {
    block_on(async {
        let connection = args.target.connect(registries, args.speak, args.timeout).await?;
        let called = async {
            let root = connection.root().await?;
            let result: Parcel =
                root.call(&args.method, arguments(&args.arguments)).timeout(args.timeout).await?;
            match args.output {
                OutputFormat::Json => Ok(Shown::Json(show::json(&result).await?)),
                OutputFormat::Table | OutputFormat::Name => {
                    Ok(Shown::Text(show::repr(&result).await?))
                }
            }
        };
        let shown: Result<_, CallError> = called.await;
        // Closes in order. The result is already here, so a peer that hangs does not matter.
        connection.close().await;
        match shown {
            Ok(Shown::Json(document)) => output::json(&document)?,
            Ok(Shown::Text(text)) => output::lines([text])?,
            Err(CallError::Remote(exception)) => {
                anstream::eprintln!("{}", output::printable(&exception.to_string()));
                return Ok(ExitCode::FAILURE);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(ExitCode::SUCCESS)
    })
}

enum Shown {
    Json(serde_json::Value),
    Text(String),
}

/// Converts words to arguments: `KEY=VALUE` to keyword arguments, all others to positional ones.
fn arguments(words: &[String]) -> Args {
    words.iter().fold(Args::new(), |args, word| match keyword(word) {
        Some((key, value)) => args.kwarg(key, parcel(Literal::of_word(value))),
        None => args.arg(parcel(Literal::of_word(word))),
    })
}

fn keyword(word: &str) -> Option<(&str, &str)> {
    let (key, value) = word.split_once('=')?;
    let mut letters = key.chars();
    let is_identifier = letters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_alphanumeric() || letter == '_');
    is_identifier.then_some((key, value))
}

/// Converts a literal. Lists and dicts have no wire form, so the server gets references to local
/// ones.
fn parcel(literal: Literal) -> Parcel {
    match literal {
        Literal::Value(value) => Parcel::Value(value),
        Literal::Tuple(members) => Parcel::tuple(members.into_iter().map(parcel).collect()),
        Literal::List(members) => {
            Local::new(members.into_iter().map(parcel).collect::<List>()).into()
        }
        Literal::Dict(pairs) => {
            let pairs = pairs.into_iter().map(|(key, value)| (key, parcel(value)));
            Local::new(pairs.collect::<Dict>()).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_with_an_identifier_before_an_equals_sign_is_a_keyword() {
        assert_eq!(keyword("last=Mertz"), Some(("last", "Mertz")));
        assert_eq!(keyword("x="), Some(("x", "")));
        assert_eq!(keyword("_é1=a=b"), Some(("_é1", "a=b")));
        for word in ["=x", "1=2", "'a=b'", "a b=c", "a.b=c", "plain"] {
            assert_eq!(keyword(word), None, "{word}");
        }
    }
}
