//! The directories of the daemon: for state that outlasts it, and for files that do not.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The subdirectory of this program in a directory for state.
const NAME: &str = "rpyc-registry";

/// Chooses the directory: from the command line, or else from the service manager, the user's
/// session or the user's home. The superuser has a home as well.
pub(super) fn choose(
    given: Option<PathBuf>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> anyhow::Result<PathBuf> {
    let of_unit = first_of(variable("STATE_DIRECTORY"));
    let of_user = || absolute(variable("XDG_STATE_HOME")).map(|state| state.join(NAME));
    let of_home = || {
        let home = absolute(variable("HOME")).or_else(std::env::home_dir)?;
        Some(home.join(".local/state").join(NAME))
    };
    given.or(of_unit).or_else(of_user).or_else(of_home).context(
        "cannot choose a state directory: this user has no home; use --state-dir or --store memory",
    )
}

/// Chooses a directory for what does not outlast this run of the daemon: that of the service
/// manager, or else of the user's session. `None` if there is neither.
pub(super) fn for_this_run(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let of_unit = first_of(variable("RUNTIME_DIRECTORY"));
    let of_user = || absolute(variable("XDG_RUNTIME_DIR")).map(|session| session.join(NAME));
    of_unit.or_else(of_user)
}

/// Makes a directory that only this user may enter, unless it exists.
pub(super) fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// systemd separates several directories with colons; the first one belongs to the unit.
fn first_of(list: Option<OsString>) -> Option<PathBuf> {
    let first = std::env::split_paths(&list?).next();
    first.filter(|path| !path.as_os_str().is_empty())
}

fn absolute(path: Option<OsString>) -> Option<PathBuf> {
    path.map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: Option<&str>, variables: &[(&str, &str)], expected: &str) {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let chosen = choose(given.map(PathBuf::from), variable).unwrap();
        assert_eq!(chosen, PathBuf::from(expected), "{given:?} {variables:?}");
    }

    #[cfg(unix)]
    #[test]
    fn the_most_specific_setting_wins() {
        let (unit, user) = (("STATE_DIRECTORY", "/var/lib/r"), ("XDG_STATE_HOME", "/s"));
        let home = ("HOME", "/root");
        check(Some("here"), &[unit, user, home], "here");
        check(None, &[unit, user, home], "/var/lib/r");
        check(None, &[("STATE_DIRECTORY", "/var/lib/r:/var/lib/q"), home], "/var/lib/r");
        check(None, &[("STATE_DIRECTORY", ""), user, home], "/s/rpyc-registry");
        check(None, &[("XDG_STATE_HOME", "relative"), home], "/root/.local/state/rpyc-registry");
        check(None, &[home], "/root/.local/state/rpyc-registry");
    }
    #[cfg(unix)]
    #[test]
    fn files_of_one_run_are_in_the_directory_of_the_unit_or_the_session() {
        let check = |variables: &[(&str, &str)], expected: Option<&str>| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            assert_eq!(for_this_run(variable), expected.map(PathBuf::from), "{variables:?}");
        };
        let (unit, session) = (("RUNTIME_DIRECTORY", "/run/r"), ("XDG_RUNTIME_DIR", "/run/user/1"));
        check(&[unit, session], Some("/run/r"));
        check(&[session], Some("/run/user/1/rpyc-registry"));
        check(&[("XDG_RUNTIME_DIR", "relative")], None);
        check(&[], None);
    }
}
