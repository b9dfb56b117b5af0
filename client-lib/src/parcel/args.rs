//! The arguments of a call.

use rpyc_protocol::rpc::Arguments;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Parcel;
use crate::ConvertError;

/// The arguments of a call, by position and by keyword.
///
/// To call the peer, [`args!`](crate::args) and [`kwargs!`](crate::kwargs) make them; both together
/// are a pair of the two. When the peer calls, [`Args::parse`] takes them apart.
#[derive(Clone, Debug, Default)]
pub struct Args {
    given: Arguments<Parcel>,
    error: Option<ConvertError>,
}

impl Args {
    /// No arguments.
    #[must_use]
    pub const fn new() -> Self {
        Self { given: Arguments::new(), error: None }
    }

    /// Adds an argument by position. If it cannot be sent, the call fails.
    #[must_use]
    pub fn arg(mut self, value: impl Serialize) -> Self {
        match Parcel::new(&value) {
            Ok(parcel) => self.given.positional.push(parcel),
            Err(error) => self.fail(error),
        }
        self
    }

    /// Adds an argument by keyword. If it cannot be sent, the call fails.
    #[must_use]
    pub fn kwarg(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        match Parcel::new(&value) {
            Ok(parcel) => self.given.keyword.push((name.into(), parcel)),
            Err(error) => self.fail(error),
        }
        self
    }

    /// Adds all of the other arguments.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.given.positional.extend(other.given.positional);
        self.given.keyword.extend(other.given.keyword);
        if let Some(error) = other.error {
            self.fail(error);
        }
        self
    }

    fn fail(&mut self, error: ConvertError) {
        self.error.get_or_insert(error);
    }

    /// Those by position.
    #[must_use]
    pub fn positional(&self) -> &[Parcel] {
        &self.given.positional
    }

    /// Those by keyword, in the order in which they came.
    #[must_use]
    pub fn keyword(&self) -> &[(String, Parcel)] {
        &self.given.keyword
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.given.positional.is_empty() && self.given.keyword.is_empty()
    }

    /// Takes those by position for a `T`, usually a tuple.
    ///
    /// # Errors
    /// [`ConvertError`] if they are others, or if there are any by keyword.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, ConvertError> {
        if let Some((name, _)) = self.given.keyword.first() {
            let message = format!("got an unexpected keyword argument '{name}'");
            return Err(ConvertError::new(message));
        }
        Parcel::tuple(self.given.positional).parse()
    }

    /// Takes them apart: by position, and by keyword.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Parcel>, Vec<(String, Parcel)>) {
        (self.given.positional, self.given.keyword)
    }

    /// The arguments as a request holds them, or the first that could not be converted.
    pub(crate) fn into_arguments(self) -> Result<Arguments<Parcel>, ConvertError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.given),
        }
    }
}

impl From<Arguments<Parcel>> for Args {
    fn from(given: Arguments<Parcel>) -> Self {
        Self { given, error: None }
    }
}

/// The types that stand for the arguments of a call.
pub trait IntoArgs {
    /// The arguments.
    fn into_args(self) -> Args;
}

impl IntoArgs for Args {
    fn into_args(self) -> Args {
        self
    }
}

impl IntoArgs for () {
    fn into_args(self) -> Args {
        Args::new()
    }
}

impl IntoArgs for (Args, Args) {
    fn into_args(self) -> Args {
        self.0.and(self.1)
    }
}

/// Makes arguments by position of anything that serde knows, of objects and of parcels.
///
/// ```
/// use rpyc_client::args;
///
/// let last = String::from("Mertz");
/// let args = args![last, 3, [1.5, 2.5]];
/// assert_eq!(args.positional().len(), 3);
/// ```
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        $crate::Args::new()$(.arg(&$value))*
    };
}

/// Makes arguments by keyword.
///
/// ```
/// use rpyc_client::kwargs;
///
/// let args = kwargs! { last: "Mertz", first: "David" };
/// assert_eq!(args.keyword().len(), 2);
/// ```
#[macro_export]
macro_rules! kwargs {
    ($($name:ident: $value:expr),* $(,)?) => {
        $crate::Args::new()$(.kwarg(::core::stringify!($name), &$value))*
    };
}
