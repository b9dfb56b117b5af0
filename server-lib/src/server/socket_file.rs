//! The file of a unix socket: bound where nothing is, or in the place of a socket that is dead.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// The file of a unix socket, removed with it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// A file, by the numbers that the system has for it.
type Identity = (u64, u64);

/// Binds a unix socket. A socket that no program listens on is replaced; any other file stays.
pub(super) async fn bind(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_dead(path).await?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    let identity = identity_of_socket(path)?;
    Ok((listener, SocketFile { path: path.to_owned(), identity }))
}

/// Removes a socket that no program listens on.
async fn remove_dead(path: &Path) -> io::Result<()> {
    let before = identity_of_socket(path)?;
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        // A full queue or missing rights are signs of life, too.
        _ => return Err(in_use("another program listens there")),
    }
    // Another server may have replaced it meanwhile.
    if identity_of_socket(path)? != before {
        return Err(in_use("another program listens there"));
    }
    std::fs::remove_file(path)
}

/// The identity of the file at `path`, which must be a socket and no link to one.
fn identity_of_socket(path: &Path) -> io::Result<Identity> {
    let file = std::fs::symlink_metadata(path)?;
    if file.file_type().is_symlink() {
        return Err(in_use("a symbolic link is there; remove it, or name the path it leads to"));
    }
    if !file.file_type().is_socket() {
        return Err(in_use("a file is there that is no socket; remove it, or choose another path"));
    }
    Ok((file.dev(), file.ino()))
}

fn in_use(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, why)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // What others have put there since stays. A socket that stays is replaced by the next
        // server.
        if identity_of_socket(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn only_a_dead_socket_is_replaced() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        drop(UnixListener::bind(path("dead")).unwrap());
        let (_listener, file) = bind(&path("dead")).await.unwrap();
        assert_eq!(bind(&path("dead")).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(file);
        assert!(!path("dead").exists());

        fs::write(path("file"), "precious").unwrap();
        fs::create_dir(path("folder")).unwrap();
        let error = bind(&path("file")).await.unwrap_err();
        assert!(error.to_string().contains("no socket"), "{error}");
        assert!(bind(&path("folder")).await.is_err());
        assert_eq!(fs::read(path("file")).unwrap(), b"precious");

        drop(UnixListener::bind(path("other")).unwrap());
        for target in ["other", "file", "nothing"] {
            std::os::unix::fs::symlink(path(target), path("link")).unwrap();
            let error = bind(&path("link")).await.unwrap_err();
            assert!(error.to_string().contains("symbolic link"), "{error}");
            fs::remove_file(path("link")).unwrap();
        }
        assert!(path("other").exists());

        // A socket that was bound for datagrams is in use by something else.
        let _datagrams = std::os::unix::net::UnixDatagram::bind(path("datagrams")).unwrap();
        assert!(bind(&path("datagrams")).await.is_err());
        assert!(path("datagrams").exists());
    }

    #[tokio::test]
    async fn what_others_have_put_there_meanwhile_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("s");
        let (_first, file) = bind(&path).await.unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_file(&path).unwrap();

        let (_second, file) = bind(&path).await.unwrap();
        fs::rename(&path, scratch.path().join("moved")).unwrap();
        let (_third, _other) = bind(&path).await.unwrap();
        drop(file);
        assert!(path.exists());
    }
}
