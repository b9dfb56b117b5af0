//! Modules of the server's Python.

use std::future::IntoFuture;
use std::pin::Pin;

use serde::de::DeserializeOwned;

use crate::connection::Call;
use crate::{CallError, IntoArgs, RemoteObject, args};

/// A module of the server's, by its full name: what Python's `conn.modules` gives. It is imported
/// if need be, once it is used.
///
/// Awaited it is an object like any other, to be kept by a program that uses much of it. To use a
/// single item of it, this is not necessary:
///
/// ```no_run
/// # async fn example(machine: rpyc_client::classic::Classic) -> Result<(), rpyc_client::CallError> {
/// use rpyc_client::args;
///
/// let cwd: String = machine.modules("os").call("getcwd", ()).await?;
/// let version: String = machine.modules("sys").attr("version").await?;
///
/// let math = machine.modules("math").await?;
/// let sine: f64 = math.call("sin", args![1.0]).await?;
/// let cosine: f64 = math.call("cos", args![1.0]).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is asked unless it is used"]
pub struct Module {
    root: RemoteObject,
    name: String,
}

impl Module {
    pub(super) fn new(root: &RemoteObject, name: &str) -> Self {
        Self { root: root.clone(), name: name.to_owned() }
    }

    fn get(&self) -> Call<RemoteObject> {
        self.root.call("getmodule", args![self.name])
    }

    /// Calls a function of it: two round trips.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Cancel safety
    /// Dropping the future gives the call up.
    pub async fn call<T: DeserializeOwned>(
        self,
        name: &str,
        args: impl IntoArgs,
    ) -> Result<T, CallError> {
        let args = args.into_args();
        self.get().await?.call(name, args).await
    }

    /// Gets an attribute of it, a value or a class for instance: two round trips.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Cancel safety
    /// Dropping the future gives the call up.
    pub async fn attr<T: DeserializeOwned>(self, name: &str) -> Result<T, CallError> {
        self.get().await?.attr(name).await
    }
}

impl IntoFuture for Module {
    type Output = Result<RemoteObject, CallError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        self.get().into_future()
    }
}
