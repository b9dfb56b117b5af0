//! Checks that no other user may change the state directory and its files.
//!
//! A user who may change them can register, end or replace any server. So the directory and the
//! files must belong to this user or to root, be writable for no other user, and no file may be a
//! symbolic link. The directory may be a link: service managers make such links.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::geteuid;

use crate::store::StoreError;

/// Every user may write.
const WORLD_WRITABLE: u32 = 0o002;

/// In such a directory, only the owner of a file may delete or rename it.
const STICKY: u32 = 0o1000;

/// Checks an existing state directory.
///
/// # Errors
/// [`StoreError::Untrusted`] if others may change it, and [`StoreError::Io`].
pub(super) fn check_directory(path: &Path) -> Result<(), StoreError> {
    let failed =
        |source| StoreError::Io { what: "use the state directory", path: path.to_owned(), source };
    let link = fs::symlink_metadata(path).map_err(failed)?;
    if link.is_symlink() && !is_trusted(&link) {
        let why = format!("it is a symbolic link of user {}", link.uid());
        return Err(untrusted(path, why, "replace the link by a directory"));
    }
    let found = fs::metadata(path).map_err(failed)?;
    if !found.is_dir() {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    // In a sticky directory, such as the root of a file system in memory, others can add files but
    // cannot replace those that are there.
    check(path, &found, found.mode() & STICKY == 0)
}

/// Checks a file of the state directory, if it exists.
///
/// # Errors
/// As [`check_directory`].
pub(super) fn check_file(path: &Path) -> Result<(), StoreError> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(StoreError::Io { what: "use", path: path.to_owned(), source }),
        Ok(found) => found,
    };
    if found.is_symlink() {
        let remedy = "move the file itself into the state directory";
        return Err(untrusted(path, "it is a symbolic link".to_owned(), remedy));
    }
    if !found.is_file() {
        return Err(untrusted(path, "it is not a file".to_owned(), "move it elsewhere"));
    }
    check(path, &found, true)
}

fn check(path: &Path, found: &Metadata, is_writable_bad: bool) -> Result<(), StoreError> {
    let shown = path.display();
    if !is_trusted(found) {
        let (me, owner) = (geteuid(), found.uid());
        let why = format!("it belongs to user {owner}, and this process is user {me}");
        return Err(untrusted(
            path,
            why,
            &format!("run `chown {me} {shown}` if you trust its content"),
        ));
    }
    if found.mode() & WORLD_WRITABLE != 0 && is_writable_bad {
        let why = format!("every user may write to it (mode {:o})", found.mode() & 0o7777);
        return Err(untrusted(
            path,
            why,
            &format!("run `chmod o-w {shown}` if you trust its content"),
        ));
    }
    Ok(())
}

fn is_trusted(found: &Metadata) -> bool {
    let owner = found.uid();
    owner == 0 || owner == geteuid().as_raw()
}

fn untrusted(path: &Path, why: String, remedy: &str) -> StoreError {
    StoreError::Untrusted { path: path.to_owned(), why, remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[track_caller]
    fn check(checked: Result<(), StoreError>, expected: Result<(), &str>) {
        let told = checked.map_err(|error| error.to_string());
        match (&told, expected) {
            (Ok(()), Ok(())) => {}
            (Err(told), Err(expected)) => assert!(told.contains(expected), "{told}"),
            _ => panic!("{told:?}, not {expected:?}"),
        }
    }

    #[test]
    fn what_others_may_change_is_refused_with_a_remedy() {
        let parent = tempfile::TempDir::new().unwrap();
        let directory = parent.path().join("state");
        let file = directory.join("file");
        fs::create_dir(&directory).unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for (mode, expected) in [
            (0o700, Ok(())),
            (0o755, Ok(())),
            (0o2770, Ok(())),
            (0o1777, Ok(())),
            (0o777, Err("every user may write to it (mode 777); run `chmod o-w ")),
        ] {
            set(&directory, mode);
            check(check_directory(&directory), expected);
        }
        check(check_file(&file), Ok(()));
        fs::write(&file, "").unwrap();
        set(&file, 0o644);
        check(check_file(&file), Ok(()));
        set(&file, 0o666);
        check(check_file(&file), Err("every user may write to it (mode 666)"));
        // Service managers link to the directory, never to a file.
        let link = parent.path().join("link");
        symlink(&directory, &link).unwrap();
        set(&directory, 0o700);
        check(check_directory(&link), Ok(()));
        let linked = directory.join("linked");
        symlink("/etc/passwd", &linked).unwrap();
        check(check_file(&linked), Err("it is a symbolic link; move the file itself"));
        check(check_file(&directory), Err("it is not a file"));
        check(check_directory(&file), Err("cannot use the state directory"));
        if geteuid().is_root() {
            set(&file, 0o600);
            std::os::unix::fs::chown(&file, Some(12345), None).unwrap();
            check(check_file(&file), Err("it belongs to user 12345, and this process is user 0"));
            std::os::unix::fs::chown(&directory, Some(12345), None).unwrap();
            check(check_directory(&directory), Err("it belongs to user 12345"));
            std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
            check(check_directory(&link), Err("a symbolic link of user 12345"));
        }
    }
}
