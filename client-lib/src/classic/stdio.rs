//! What the server prints arrives here, and what it reads is read here.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::sync::Arc;

use rpyc_protocol::rpc::Exception;

use super::{Classic, terminal};
use crate::{Args, CallError, Context, Local, Method, Object, Parcel, RemoteObject, denied};

type Sink = Arc<dyn Fn(&str) -> io::Result<()> + Send + Sync>;
type Source = Arc<dyn Fn() -> io::Result<String> + Send + Sync>;

/// Where the server's standard streams are to lead. Default: to those of this program.
///
/// If a stream of this program is a terminal, what the server writes appears there as text: control
/// characters other than the ends of lines and tabs are escaped, so that a server can neither move
/// the cursor nor make the terminal type. A stream that is no terminal gets the text as it is, and
/// so do [`output`](Self::output) and [`errors`](Self::errors).
#[derive(Clone)]
#[must_use]
pub struct Stdio {
    input: Source,
    output: Sink,
    errors: Sink,
}

impl Default for Stdio {
    fn default() -> Self {
        Self {
            input: Arc::new(|| {
                let mut line = String::new();
                io::stdin().read_line(&mut line).map(|_| line)
            }),
            output: Arc::new(|text| terminal::write(io::stdout().lock(), text)),
            errors: Arc::new(|text| terminal::write(io::stderr().lock(), text)),
        }
    }
}

impl fmt::Debug for Stdio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stdio").finish_non_exhaustive()
    }
}

impl Stdio {
    /// Returns a line of input with its end, or an empty one at the end of input. May block.
    pub fn input(mut self, input: impl Fn() -> io::Result<String> + Send + Sync + 'static) -> Self {
        self.input = Arc::new(input);
        self
    }

    /// Receives printed output, unescaped. May block.
    pub fn output(
        mut self,
        output: impl Fn(&str) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.output = Arc::new(output);
        self
    }

    /// Receives printed errors, unescaped. May block.
    pub fn errors(
        mut self,
        errors: impl Fn(&str) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.errors = Arc::new(errors);
        self
    }
}

/// The server's standard streams lead here, until this is [restored](Self::restore) or dropped.
#[derive(Debug)]
#[must_use = "the streams are restored when this is dropped"]
pub struct Redirected {
    sys: RemoteObject,
    before: [(&'static str, Parcel); 3],
    is_over: bool,
}

impl Classic {
    /// Does `act` while the server's `sys.stdin`, `sys.stdout` and `sys.stderr` lead here, for all
    /// of its connections; then they lead to where they led before, also after an error.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use rpyc_client::classic::{self, Stdio};
    ///
    /// let machine = classic::connect("localhost:18812").await?;
    /// machine.redirected_stdio(Stdio::default(), async || machine.execute("print(6 * 7)").await).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CallError`], or what `act` fails with.
    ///
    /// # Cancel safety
    /// The streams are restored if the future is dropped, once the server has done what it is
    /// doing.
    pub async fn redirected_stdio<R, E: From<CallError>>(
        &self,
        stdio: Stdio,
        act: impl AsyncFnOnce() -> Result<R, E>,
    ) -> Result<R, E> {
        let redirected = self.redirect_stdio(stdio).await?;
        let done = act().await;
        let restored = redirected.restore().await;
        let done = done?;
        restored?;
        Ok(done)
    }

    /// Makes the server's `sys.stdin`, `sys.stdout` and `sys.stderr` lead here, for all of its
    /// connections, for as long as what this gives is kept.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Cancel safety
    /// The streams are restored if the future is dropped.
    pub async fn redirect_stdio(&self, stdio: Stdio) -> Result<Redirected, CallError> {
        let sys = self.modules("sys").await?;
        let stream = |name| sys.attr::<Parcel>(name).into_future();
        let (stdin, stdout, stderr) =
            tokio::try_join!(stream("stdin"), stream("stdout"), stream("stderr"))?;
        let before = [("stdin", stdin), ("stdout", stdout), ("stderr", stderr)];
        // From here on they are restored, however this ends.
        let redirected = Redirected { sys, before, is_over: false };
        let sys = &redirected.sys;
        let input = Local::new(Stream::Input(stdio.input));
        let output = Local::new(Stream::Output(stdio.output));
        let errors = Local::new(Stream::Output(stdio.errors));
        tokio::try_join!(
            sys.set_attr("stdin", input).into_future(),
            sys.set_attr("stdout", output).into_future(),
            sys.set_attr("stderr", errors).into_future(),
        )?;
        Ok(redirected)
    }
}

impl Redirected {
    /// Makes the streams lead to where they led before, and waits until they do. Dropping does the
    /// same without waiting and without a result.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Cancel safety
    /// The streams are restored all the same.
    pub async fn restore(mut self) -> Result<(), CallError> {
        for (name, stream) in &self.before {
            self.sys.set_attr(name, stream).await?;
        }
        self.is_over = true;
        Ok(())
    }
}

impl Drop for Redirected {
    fn drop(&mut self) {
        if self.is_over || self.sys.connection().is_closed() {
            return;
        }
        // The server does what it is asked in order, so it does this before it hears a goodbye.
        for (name, stream) in &self.before {
            self.sys.set_attr(name, stream).post();
        }
    }
}

/// A file of Python's, as far as `print` and `input` need one.
enum Stream {
    Input(Source),
    Output(Sink),
}

impl Object for Stream {
    fn methods(&self) -> Cow<'_, [Method]> {
        match self {
            Self::Input(_) => ["readline", "read", "isatty"].map(Method::new).to_vec().into(),
            Self::Output(_) => ["write", "flush", "isatty"].map(Method::new).to_vec().into(),
        }
    }

    async fn get_attr(&self, _: &Context, name: &str) -> Result<Parcel, Exception> {
        match name {
            "encoding" => Ok("utf-8".into()),
            "errors" => Ok("strict".into()),
            "closed" => Ok(false.into()),
            _ => Err(denied(name)),
        }
    }

    async fn call_attr(&self, _: &Context, name: &str, args: Args) -> Result<Parcel, Exception> {
        match (self, name) {
            (Self::Input(input), "readline" | "read") => {
                let input = input.clone();
                Ok(blocking(move || input()).await?.into())
            }
            (Self::Output(output), "write") => {
                let (text,): (String,) = args.parse()?;
                let len = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
                let output = output.clone();
                blocking(move || output(&text)).await?;
                Ok(len.into())
            }
            (Self::Output(_), "flush") => Ok(Parcel::NONE),
            (_, "isatty") => Ok(false.into()),
            _ => Err(denied(name)),
        }
    }
}

/// Runs work that may block on a separate thread.
async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Exception> {
    let done = tokio::task::spawn_blocking(act).await;
    let done = done.unwrap_or_else(|_panic| Err(io::Error::other("internal error")));
    done.map_err(|error| Exception::builtin("OSError", error.to_string()))
}
