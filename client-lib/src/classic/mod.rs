//! RPyC's classic mode: the whole of a remote Python interpreter, from here.
//!
//! `rpyc_classic` gives every client the power to do anything that its user may do. So it is
//! for networks where every host is trusted, and it listens on its own machine only by default.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use rpyc_client::{classic, kwargs};
//!
//! let machine = classic::connect("localhost:18812").await?;
//! let cwd: String = machine.modules("os").call("getcwd", ()).await?;
//! let pay: f64 = machine
//!     .modules("Payroll")
//!     .call("get_salary", kwargs! { last: "Mertz", first: "David" })
//!     .await?;
//! let sum: i64 = machine.eval("sum(range(10))").await?;
//! # Ok(())
//! # }
//! ```

mod files;
mod module;
mod root;
mod socket;
mod stdio;
mod terminal;

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use files::{Progress, TransferError};
pub use module::Module;
pub use socket::RemoteSocket;
pub use stdio::{Redirected, Stdio};

use crate::connection::Call;
use crate::{
    CallError, ConnectError, Connection, ConnectionBuilder, Local, Parcel, RemoteObject, args,
    pickle,
};

/// A remote Python interpreter. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Classic {
    root: RemoteObject,
}

/// Connects to the classic server at `address`: `host:port`, or the path of a unix socket. RPyC's
/// port is 18812, over TLS 18821. For options, see [`ConnectionBuilder::connect_classic`].
///
/// # Errors
/// [`ConnectError`] with the reason.
///
/// # Cancel safety
/// Cancel safe: dropping the future closes whatever was opened.
pub async fn connect(address: impl Display) -> Result<Classic, ConnectError> {
    builder().connect_classic(address).await
}

/// The options of a connection to a classic server, whichever way it is made; [`Classic::over`]
/// uses it.
///
/// What it serves satisfies servers of RPyC's `ClassicService`, which use their client's modules as
/// soon as it connects.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use rpyc_client::classic::{self, Classic};
///
/// // What `rpyc_classic --register` announces.
/// let connection = classic::builder().connect_by_service("SLAVE").await?;
/// let machine = Classic::over(&connection).await?;
/// # Ok(())
/// # }
/// ```
pub fn builder() -> ConnectionBuilder {
    Connection::builder().serving(Local::new(root::Polite))
}

impl ConnectionBuilder {
    /// Connects to the classic server at `address`; see [`connect`].
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use rpyc_client::Connection;
    ///
    /// let patient = Connection::builder().timeout(Duration::from_secs(600));
    /// let machine = patient.connect_classic("localhost:18812").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`] with the reason.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future closes whatever was opened.
    pub async fn connect_classic(self, address: impl Display) -> Result<Classic, ConnectError> {
        let text = address.to_string();
        let connection = self.or_serving(|| Local::new(root::Polite)).connect(address).await?;
        Classic::over(&connection)
            .await
            .map_err(|error| ConnectError::NoRoot { address: text.into(), error: Box::new(error) })
    }
}

impl Classic {
    /// Uses a connection to a classic server, made by way of [`builder`].
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn over(connection: &Connection) -> Result<Self, CallError> {
        Ok(Self { root: connection.root().await? })
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> Connection {
        self.root.connection()
    }

    /// A module by its full name; it is imported if need be.
    pub fn modules(&self, name: &str) -> Module {
        Module::new(&self.root, name)
    }

    /// The module of Python's builtins.
    pub fn builtins(&self) -> Module {
        self.modules("builtins")
    }

    /// The value of a Python expression, with the names of the [`namespace`](Self::namespace).
    pub fn eval<T: DeserializeOwned>(&self, expression: &str) -> Call<T> {
        self.root.call("eval", args![expression])
    }

    /// Runs Python statements; the names that they define are in the
    /// [`namespace`](Self::namespace) then.
    pub fn execute(&self, statements: &str) -> Call<()> {
        self.root.call("execute", args![statements])
    }

    /// The dict of the names of this connection.
    pub fn namespace(&self) -> Call<RemoteObject> {
        self.root.attr("namespace")
    }

    /// Brings a value there, lists and dicts included, where it is the server's own.
    ///
    /// What goes as an argument of a call goes as tuples; code that needs a real list or dict, or
    /// is to change it, needs this.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn deliver<T: DeserializeOwned>(
        &self,
        value: &(impl Serialize + Sync + ?Sized),
    ) -> Result<T, CallError> {
        let bytes = pickle::to_vec(value).map_err(CallError::Packing)?;
        self.modules("pickle").call("loads", args![Parcel::bytes(bytes)]).await
    }

    /// Brings the content of a list, a dict or the like here, and of those in it.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Cancel safety
    /// Cancel safe, but for the items of an iterator, which are lost.
    pub async fn obtain<T: DeserializeOwned>(&self, object: &RemoteObject) -> Result<T, CallError> {
        object.fetch().await
    }

    /// Opens Python's prompt there for the terminal here, until its user leaves it.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Cancel safety
    /// Not cancel safe: the prompt keeps waiting for input that does not come any more.
    pub async fn interact(&self, stdio: Stdio) -> Result<(), CallError> {
        let redirected = self.redirect_stdio(stdio).await?;
        let done = self.prompt().await;
        let restored = redirected.restore().await;
        done?;
        restored
    }

    async fn prompt(&self) -> Result<(), CallError> {
        self.execute(
            "def _rpyc_interact():\n    import code\n    code.interact(local=dict(globals()))\n",
        )
        .await?;
        let prompt: RemoteObject = self.namespace().await?.item("_rpyc_interact").await?;
        match prompt.invoke::<()>(()).timeout(None).await {
            // The user said `exit()`.
            Err(error) if error.is("SystemExit") => Ok(()),
            done => done,
        }
    }
}
