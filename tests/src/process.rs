//! Child processes: read line by line, stopped by process id.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::kill;
use nix::unistd::Pid;

pub use nix::sys::signal::Signal;

use crate::eventually::{PATIENCE, eventually};
use crate::signals;

/// A child process; dropping it kills and reaps it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines,
    stderr: Lines,
}

impl Process {
    /// Starts `command` with all three standard streams piped. `name` identifies it in failures.
    pub fn start(name: &str, mut command: Command) -> Self {
        signals::restore_defaults();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stdin = child.stdin.take();
        let stdout = Lines::of(child.stdout.take().expect("standard output is piped"));
        let stderr = Lines::of(child.stderr.take().expect("standard error is piped"));
        Self { name: name.to_owned(), child, stdin, stdout, stderr }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends `signal` to the process.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a process id fits"));
        kill(pid, signal).unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
    }

    /// Writes `line` to standard input.
    pub fn write_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        if let Err(error) = stdin.write_all(format!("{line}\n").as_bytes()) {
            panic!("{} does not read: {error}\n{}", self.name, self.stderr());
        }
    }

    /// Closes standard input, which makes the Python programs of the harness exit.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits until `find` returns a value for the lines written so far to standard output.
    ///
    /// `what` names the awaited state in the failure, which shows both outputs.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, find: impl FnMut(&[String]) -> Option<T>) -> T {
        self.stdout.wait_for(PATIENCE, find).unwrap_or_else(|seen| {
            panic!("{}: no {what} in:\n{seen}\n{}", self.name, self.stderr())
        })
    }

    /// Waits until standard error has a line that contains `text`, and returns that line.
    #[track_caller]
    pub fn wait_for_error(&self, text: &str) -> String {
        let find = |lines: &[String]| lines.iter().find(|line| line.contains(text)).cloned();
        match self.stderr.wait_for(PATIENCE, find) {
            Ok(line) => line,
            Err(seen) => panic!("{}: no {text:?} in:\n{seen}", self.name),
        }
    }

    /// The text that the process has written to standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// The text that the process has written to standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until the process exits by itself.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let Self { name, child, .. } = self;
        eventually(&format!("the end of {name}"), PATIENCE, || {
            child.try_wait().expect("a child can be waited for")
        })
    }

    /// Kills the process (SIGKILL) and waits for its exit.
    pub fn kill(&mut self) {
        // The kill fails only if the process has exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The lines of a stream, read as they arrive so that the writer never blocks.
#[derive(Debug, Clone)]
struct Lines {
    shared: Arc<(Mutex<Seen>, Condvar)>,
}

#[derive(Debug, Default)]
struct Seen {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let lines = Self { shared: Arc::default() };
        let follower = lines.clone();
        std::thread::spawn(move || follower.follow(BufReader::new(stream)));
        lines
    }

    fn follow(&self, mut stream: BufReader<impl Read>) {
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            self.update(|seen| seen.lines.push(text));
            line.clear();
        }
        self.update(|seen| seen.ended = true);
    }

    fn update(&self, change: impl FnOnce(&mut Seen)) {
        let (seen, changed) = &*self.shared;
        change(&mut seen.lock().unwrap_or_else(PoisonError::into_inner));
        changed.notify_all();
    }

    /// Returns the value of `find`, or all lines after the timeout or at the end of the stream.
    fn wait_for<T>(
        &self,
        within: Duration,
        mut find: impl FnMut(&[String]) -> Option<T>,
    ) -> Result<T, String> {
        let deadline = Instant::now() + within;
        let (seen, changed) = &*self.shared;
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = find(&seen.lines) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if seen.ended || left.is_zero() {
                return Err(seen.lines.join("\n"));
            }
            seen = changed.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn text(&self) -> String {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).lines.join("\n")
    }
}
