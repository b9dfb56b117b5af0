//! The arguments of a call.

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
    positional: Vec<Parcel>,
    keyword: Vec<(String, Parcel)>,
    error: Option<ConvertError>,
}

impl Args {
    /// No arguments.
    #[must_use]
    pub const fn new() -> Self {
        Self { positional: Vec::new(), keyword: Vec::new(), error: None }
    }

    /// Adds an argument by position. If it cannot be sent, the call tells.
    #[must_use]
    pub fn arg(mut self, value: impl Serialize) -> Self {
        match Parcel::new(&value) {
            Ok(parcel) => self.positional.push(parcel),
            Err(error) => self.fail(error),
        }
        self
    }

    /// Adds an argument by keyword. If it cannot be sent, the call tells.
    #[must_use]
    pub fn kwarg(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        match Parcel::new(&value) {
            Ok(parcel) => self.keyword.push((name.into(), parcel)),
            Err(error) => self.fail(error),
        }
        self
    }

    /// Adds all of the other arguments.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.positional.extend(other.positional);
        self.keyword.extend(other.keyword);
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
        &self.positional
    }

    /// Those by keyword, in the order in which they came.
    #[must_use]
    pub fn keyword(&self) -> &[(String, Parcel)] {
        &self.keyword
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.positional.is_empty() && self.keyword.is_empty()
    }

    /// Takes those by position for a `T`, usually a tuple.
    ///
    /// # Errors
    /// [`ConvertError`] if they are others, or if there are any by keyword.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, ConvertError> {
        if let Some((name, _)) = self.keyword.first() {
            let message = format!("got an unexpected keyword argument '{name}'");
            return Err(ConvertError::new(message));
        }
        Parcel::tuple(self.positional).parse()
    }

    /// Takes them apart: by position, and by keyword.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Parcel>, Vec<(String, Parcel)>) {
        (self.positional, self.keyword)
    }

    pub(crate) fn from_parts(positional: Vec<Parcel>, keyword: Vec<(String, Parcel)>) -> Self {
        Self { positional, keyword, error: None }
    }

    pub(crate) fn checked(self) -> Result<Self, ConvertError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }
}

/// What may stand for the arguments of a call.
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
