//! Real RPyC, installed once per target directory.
//!
//! `requirements/` holds the pinned requirements. Each set of them is installed into a separate
//! directory, `<target>/reference/<key>`. The installation writes a stamp last, so a directory that
//! a killed run left incomplete has no stamp and is rebuilt. A lock beside it makes other test
//! processes wait for the one that installs.
//!
//! The variable `RPYC_TEST_PYTHON` names another `python3`.

use std::env;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::fcntl::{Flock, FlockArg};

use crate::notice::notice;
use crate::workspace;

/// A version of real RPyC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "tests choose by version")]
pub enum Reference {
    /// rpyc 5.3.1.
    Rpyc5,
    /// rpyc 6.0.2.
    Rpyc6,
}

impl Reference {
    /// Every version that the tests cover.
    pub const ALL: [Self; 2] = [Self::Rpyc5, Self::Rpyc6];

    /// Returns the Python interpreter that has this version, which the first use installs.
    ///
    /// Fails the test, with advice, if `python3`, its `venv` module or the package index is absent.
    pub fn python(self) -> &'static Path {
        static PYTHON: [OnceLock<Result<PathBuf, String>>; 2] = [const { OnceLock::new() }; 2];
        let [rpyc5, rpyc6] = &PYTHON;
        let python = match self {
            Self::Rpyc5 => rpyc5,
            Self::Rpyc6 => rpyc6,
        };
        let installed = python.get_or_init(|| {
            let directory = workspace::target().join("reference");
            Environment::new(self.name(), &self.requirements(), &directory).installed()
        });
        installed.as_deref().unwrap_or_else(|reason| panic!("{reason}"))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rpyc5 => "rpyc5",
            Self::Rpyc6 => "rpyc6",
        }
    }

    fn requirements(self) -> PathBuf {
        workspace::package().join("requirements").join(self.name()).with_extension("txt")
    }
}

/// A virtual environment with pinned packages.
#[derive(Debug)]
pub struct Environment {
    base: String,
    requirements: PathBuf,
    pins: String,
    directory: PathBuf,
}

impl Environment {
    /// The environment `name` in `directory`, with the packages of the file `requirements`.
    pub fn new(name: &str, requirements: &Path, directory: &Path) -> Self {
        let base = env::var("RPYC_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let pins = fs::read_to_string(requirements)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", requirements.display()));
        let mut key = DefaultHasher::new();
        (&base, &pins).hash(&mut key);
        let directory = directory.join(format!("{name}-{:016x}", key.finish()));
        Self { base, requirements: requirements.to_owned(), pins, directory }
    }

    /// The directory of the environment, which may not exist yet.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the interpreter, after installing the environment if it is incomplete.
    ///
    /// # Errors
    /// A message that names the missing part and the remedy.
    pub fn installed(&self) -> Result<PathBuf, String> {
        let python = self.directory.join("bin").join("python");
        let unmade = |error| format!("cannot make {}: {error}", self.directory.display());
        let _lock = self.lock().map_err(unmade)?;
        // An upgrade of the system's Python can leave the environment's link dangling.
        if self.stamp().exists() && python.exists() {
            return Ok(python);
        }
        if self.directory.exists() {
            fs::remove_dir_all(&self.directory).map_err(unmade)?;
        }
        self.install(&python)?;
        fs::write(self.stamp(), &self.pins).map_err(unmade)?;
        Ok(python)
    }

    fn lock(&self) -> io::Result<Flock<File>> {
        if let Some(parent) = self.directory.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = File::create(self.directory.with_extension("lock"))?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
    }

    fn stamp(&self) -> PathBuf {
        self.directory.join("installed")
    }

    fn install(&self, python: &Path) -> Result<(), String> {
        let pins = self.pins.split_whitespace().collect::<Vec<_>>().join(" ");
        notice(&format!("tests: installing {pins} in {}, once", self.directory.display()));

        let mut venv = Command::new(&self.base);
        venv.args(["-m", "venv"]).arg(&self.directory);
        run(venv).map_err(|failure| self.no_venv(&failure))?;

        let mut pip = Command::new(python);
        pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
        pip.args(["--no-deps", "--requirement"]).arg(&self.requirements);
        run(pip).map_err(|failure| {
            format!(
                "the tests need {pins} from PyPI, and pip could not install them. Is the network there? \
                 (pip's own settings, such as a mirror or a proxy, are respected.)\n{failure}"
            )
        })
    }

    fn no_venv(&self, failure: &Failure) -> String {
        let base = &self.base;
        match failure {
            Failure::NotFound => format!(
                "the tests need Python 3.9 or newer to run real RPyC, and there is no {base:?}. Install it \
                 (Debian: apt-get install python3 python3-venv), or name one in RPYC_TEST_PYTHON."
            ),
            Failure::Other(output) => format!(
                "the tests need Python's venv module to install real RPyC, and {base:?} could not make a \
                 virtual environment. Install it (Debian: apt-get install python3-venv), or name another \
                 python3 in RPYC_TEST_PYTHON.\n{output}"
            ),
        }
    }
}

/// The reason why a command failed.
enum Failure {
    NotFound,
    Other(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFound => f.write_str("command not found"),
            Self::Other(output) => f.write_str(output),
        }
    }
}

fn run(mut command: Command) -> Result<(), Failure> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::NotFound,
        _ => Failure::Other(error.to_string()),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(Failure::Other(String::from_utf8_lossy(&text).trim().to_owned()))
}
