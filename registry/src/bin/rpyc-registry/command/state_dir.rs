//! The directory for state that outlasts the daemon.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context;

/// The subdirectory of this program in a directory for state.
const NAME: &str = "rpyc-registry";

/// Chooses the directory: from the command line, or else from the service manager, the user's
/// session or the user's home. The superuser has a home as well.
pub(super) fn choose(
    given: Option<PathBuf>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> anyhow::Result<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // systemd separates several directories with colons; the first one belongs to the unit.
    let of_unit = variable("STATE_DIRECTORY")
        .and_then(|list| std::env::split_paths(&list).next())
        .filter(|path| !path.as_os_str().is_empty());
    let of_user = || absolute("XDG_STATE_HOME").map(|state| state.join(NAME));
    let of_home =
        || Some(absolute("HOME").or_else(std::env::home_dir)?.join(".local/state").join(NAME));
    given.or(of_unit).or_else(of_user).or_else(of_home).context(
        "cannot choose a state directory: this user has no home; use --state-dir or --store memory",
    )
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
}
